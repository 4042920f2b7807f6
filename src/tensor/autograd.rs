//! Reverse mode: each result remembers what it was made of and how to pull a gradient back through itself.

use std::cell::Cell;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::{DType, Result, Tensor, TensorError};

/// Gradients of an operation's inputs for the gradient of its result; `None` for an input that asked for none.
type Pull = Box<dyn Fn(&Tensor) -> Result<Vec<Option<Tensor>>> + Send + Sync>;

/// A recorded operation, or a leaf that gathers its gradient.
pub(crate) struct Node {
    operation: &'static str,
    inputs: Vec<Option<Arc<Node>>>,
    pull: Option<Pull>,
    gradient: Mutex<Option<Gradient>>,
}

/// What backward passes have gathered in a leaf.
#[derive(Clone)]
struct Gradient {
    /// In the dtype of the leaf.
    rounded: Tensor,
    /// The same in f32, where it is the sum of several passes and the leaf is bf16.
    exact: Option<Tensor>,
}

impl Gradient {
    /// Both together, rounded once.
    fn add(&self, more: &Gradient) -> Result<Gradient> {
        if self.rounded.dtype == DType::F32 {
            return Ok(Gradient { rounded: self.rounded.add(&more.rounded)?, exact: None });
        }
        let exact = self.wide()?.add(&more.wide()?)?;
        Ok(Gradient { rounded: exact.to_dtype(self.rounded.dtype)?, exact: Some(exact) })
    }

    fn wide(&self) -> Result<Tensor> {
        self.exact.clone().map_or_else(|| self.rounded.wide(), Ok)
    }
}

/// The gradient of a value that is used several times, within one backward pass: in bf16, too, the sum is rounded once.
struct Sum {
    dtype: DType,
    /// All but the last: in f32 where they are more than one.
    sum: Tensor,
    /// The last one of bf16, which is added as the sum is rounded.
    last: Option<Tensor>,
}

impl Sum {
    fn new(first: Tensor) -> Sum {
        Sum { dtype: first.dtype, sum: first, last: None }
    }

    fn add(&mut self, more: Tensor) -> Result<()> {
        if self.dtype == DType::F32 {
            self.sum = self.sum.add(&more)?;
        } else if let Some(last) = self.last.replace(more) {
            self.sum = self.sum.wide()?.add(&last.wide()?)?;
        }
        Ok(())
    }

    fn rounded(self) -> Result<Tensor> {
        match self.last {
            None => Ok(self.sum),
            Some(last) if last.dtype == self.sum.dtype => self.sum.add(&last),
            Some(last) => self.sum.add(&last.wide()?)?.to_dtype(self.dtype),
        }
    }
}

thread_local! {
    static RECORDING: Cell<bool> = const { Cell::new(true) };
}

/// Runs something without recording it, so that nothing is kept for gradients. It holds on this thread alone: work that
/// is handed to others is recorded unless it asks for the same there, and a task of the thread pool that this thread begins
/// while it waits for others is not.
pub fn no_grad<T>(run: impl FnOnce() -> T) -> T {
    with_recording(false, run)
}

pub(crate) fn with_recording<T>(on: bool, run: impl FnOnce() -> T) -> T {
    /// Puts the former state back, also where `run` unwinds.
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            RECORDING.set(self.0);
        }
    }
    let _restore = Restore(RECORDING.replace(on));
    run()
}

pub(crate) fn is_recording() -> bool {
    RECORDING.get()
}

impl Node {
    pub(crate) fn leaf() -> Arc<Node> {
        Arc::new(Node { operation: "leaf", inputs: Vec::new(), pull: None, gradient: Mutex::new(None) })
    }

    pub(crate) fn gradient(&self) -> Option<Tensor> {
        self.gradient.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|gradient| gradient.rounded.clone())
    }

    pub(crate) fn clear_gradient(&self) {
        *self.gradient.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Adds to the gradient of a leaf. The lock is not held while sums are worked out: a thread that waits for its share
    /// of one may begin another backward pass to the same leaf.
    fn accumulate(&self, more: Tensor) -> Result<()> {
        let mut sum = Gradient { rounded: more, exact: None };
        while let Some(held) = self.take_or_put(&sum) {
            sum = held.add(&sum)?;
        }
        Ok(())
    }

    /// Takes the gradient out, or puts this one in where there is none.
    fn take_or_put(&self, sum: &Gradient) -> Option<Gradient> {
        let mut gradient = self.gradient.lock().unwrap_or_else(PoisonError::into_inner);
        let held = gradient.take();
        if held.is_none() {
            *gradient = Some(sum.clone());
        }
        held
    }
}

impl Drop for Node {
    /// Frees a long chain without recursion.
    fn drop(&mut self) {
        let mut waiting = std::mem::take(&mut self.inputs);
        while let Some(input) = waiting.pop() {
            if let Some(mut node) = input.and_then(Arc::into_inner) {
                waiting.append(&mut node.inputs);
            }
        }
    }
}

impl Tensor {
    /// The same values as a leaf that gathers its gradient. What is on the tape already, such as a result or another
    /// leaf, stays where it is, as with PyTorch's `requires_grad_`: [`Tensor::detach`] takes it off. Indices have no
    /// gradient: they stay off the tape.
    pub fn with_gradient(&self) -> Tensor {
        match self.dtype {
            DType::F32 | DType::Bf16 if self.node.is_none() => self.on(Node::leaf()),
            _ => self.clone(),
        }
    }

    /// The same values at a node of the tape.
    pub(crate) fn on(&self, node: Arc<Node>) -> Tensor {
        Tensor { node: Some(node), ..self.clone() }
    }

    /// The gradient that backward passes gathered in this leaf; a result of operations gathers none.
    pub fn gradient(&self) -> Option<Tensor> {
        self.node.as_ref()?.gradient()
    }

    /// The same values, off the tape.
    pub fn detach(&self) -> Tensor {
        Tensor { node: None, ..self.clone() }
    }

    /// Whether gradients are to flow back into this tensor.
    pub fn wants_gradient(&self) -> bool {
        self.node.is_some() && is_recording()
    }

    /// Notes how the gradient flows from this result back to `inputs`, where any of them wants one.
    ///
    /// `pull` gives one gradient an input, of the input's shape. What it captures must be detached.
    pub(crate) fn record<const N: usize>(
        self,
        operation: &'static str,
        inputs: [&Tensor; N],
        pull: impl Fn(&Tensor) -> Result<Vec<Option<Tensor>>> + Send + Sync + 'static,
    ) -> Tensor {
        self.record_all(operation, &inputs, pull)
    }

    /// [`Tensor::record`] for any number of inputs.
    pub(crate) fn record_all(
        self,
        operation: &'static str,
        inputs: &[&Tensor],
        pull: impl Fn(&Tensor) -> Result<Vec<Option<Tensor>>> + Send + Sync + 'static,
    ) -> Tensor {
        if !inputs.iter().any(|input| input.wants_gradient()) {
            return self;
        }
        self.record_always(operation, inputs, pull)
    }

    /// [`Tensor::record_all`] even where no input wants a gradient: something inside may.
    pub(crate) fn record_always(
        self,
        operation: &'static str,
        inputs: &[&Tensor],
        pull: impl Fn(&Tensor) -> Result<Vec<Option<Tensor>>> + Send + Sync + 'static,
    ) -> Tensor {
        let inputs = inputs.iter().map(|input| input.node.clone()).collect();
        let node = Node { operation, inputs, pull: Some(Box::new(pull)), gradient: Mutex::new(None) };
        Tensor { node: Some(Arc::new(node)), ..self }
    }

    /// Adds the gradient of this one number to every leaf it was made of.
    ///
    /// # Errors
    /// Where the tensor has more than one element, nothing was recorded, or the device fails.
    pub fn backward(&self) -> Result<()> {
        if self.len() != 1 {
            return Err(TensorError::shape("backward", self.shape, "one element; backward_with takes a gradient"));
        }
        let one = Tensor::full(&self.device, self.shape, 1.0)?.to_dtype(self.dtype)?;
        self.backward_with(&one)
    }

    /// Adds the gradient of the sum of this tensor times `gradient` to every leaf it was made of.
    ///
    /// # Errors
    /// Where shapes, dtypes or devices differ, nothing was recorded, or the device fails.
    pub fn backward_with(&self, gradient: &Tensor) -> Result<()> {
        let root = self.node.as_ref().ok_or(TensorError::NotRecorded(self.shape))?;
        if gradient.shape != self.shape {
            return Err(TensorError::shapes("backward", self.shape, gradient.shape, "a gradient of the same shape"));
        }
        self.expect_same_kind("backward", gradient)?;
        flow_back(root, gradient.detach())
    }
}

/// Everything here is off the tape, so that nothing is recorded: [`no_grad`] would hold, too, for another pass that this
/// thread begins while it waits for its share of this one.
fn flow_back(root: &Arc<Node>, gradient: Tensor) -> Result<()> {
    let mut gradients = HashMap::from([(Arc::as_ptr(root), Sum::new(gradient))]);
    for node in users_first(root) {
        let Some(gradient) = gradients.remove(&Arc::as_ptr(&node)) else { continue };
        let gradient = gradient.rounded()?;
        let Some(pull) = &node.pull else {
            node.accumulate(gradient)?;
            continue;
        };
        for (input, more) in node.inputs.iter().zip(pull(&gradient)?) {
            let (Some(input), Some(more)) = (input, more) else { continue };
            match gradients.entry(Arc::as_ptr(input)) {
                Entry::Occupied(mut sum) => sum.get_mut().add(more.detach())?,
                Entry::Vacant(place) => drop(place.insert(Sum::new(more.detach()))),
            }
        }
    }
    Ok(())
}

/// Every node that the root was made of, each after all that were made of it.
fn users_first(root: &Arc<Node>) -> Vec<Arc<Node>> {
    let (mut seen, mut order) = (HashSet::new(), Vec::new());
    let mut stack = vec![(root.clone(), false)];
    while let Some((node, done)) = stack.pop() {
        if done {
            order.push(node);
            continue;
        }
        if !seen.insert(Arc::as_ptr(&node)) {
            continue;
        }
        stack.push((node.clone(), true));
        stack.extend(node.inputs.iter().flatten().map(|input| (input.clone(), false)));
    }
    order.reverse();
    order
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} inputs", self.operation, self.inputs.len())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use rayon::prelude::*;

    use super::*;
    use crate::tensor::{Cpu, Parameter};

    /// One of these alone is lost beside the 1 in bf16, from either end; both together are not.
    const USES: [f32; 3] = [0.003, 1.0, 0.003];
    const WHOLE: f32 = 1.007_812_5;

    fn bf16(value: f32) -> Tensor {
        Tensor::full(&Cpu::device(), [3], value).and_then(|x| x.to_dtype(DType::Bf16)).expect("a value")
    }

    #[test]
    fn gradients_of_bf16_from_several_uses_are_rounded_once() {
        let x = bf16(0.5).with_gradient();
        let uses: Vec<Tensor> = USES.map(|c| x.mul_scalar(c).expect("a product")).into();
        let y = Tensor::cat(&uses.iter().collect::<Vec<_>>(), 0).expect("all uses");
        let ones = Tensor::full(x.device(), y.shape(), 1.0).and_then(|x| x.to_dtype(DType::Bf16)).expect("ones");
        y.backward_with(&ones).expect("gradients");
        let gradient = x.gradient().expect("a gradient");
        assert_eq!((gradient.dtype(), gradient.to_vec()), (DType::Bf16, Ok(vec![WHOLE; 3])));
    }

    #[test]
    fn gradients_of_bf16_from_several_passes_are_rounded_once() {
        let x = bf16(0.5).with_gradient();
        for c in USES {
            let ones = bf16(1.0).to_device(x.device()).expect("ones");
            x.mul_scalar(c).and_then(|y| y.backward_with(&ones)).expect("gradients");
        }
        assert_eq!(x.gradient().map(|gradient| gradient.to_vec()), Some(Ok(vec![WHOLE; 3])));
    }

    #[test]
    fn a_result_that_is_to_have_a_gradient_stays_on_the_tape() {
        let x = Tensor::full(&Cpu::device(), [2], 3.0).expect("a value").with_gradient();
        let square = x.mul(&x).expect("a square").with_gradient();
        square.with_gradient().sum(&[], false).and_then(|sum| sum.backward()).expect("gradients");
        assert_eq!(x.with_gradient().gradient().map(|gradient| gradient.to_vec()), Some(Ok(vec![6.0; 2])));
        let own = square.detach().with_gradient();
        own.sum(&[], false).and_then(|sum| sum.backward()).expect("gradients");
        assert_eq!(own.gradient().map(|gradient| gradient.to_vec()), Some(Ok(vec![1.0; 2])));
    }

    #[test]
    fn parallel_backward_passes_to_one_leaf_end() {
        const PASSES: usize = 64;
        let (done, ended) = mpsc::channel();
        std::thread::spawn(move || {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().expect("threads");
            let parameter = Parameter::new(Tensor::full(&Cpu::device(), [1 << 18], 0.5).expect("a value"));
            pool.install(|| {
                (0..PASSES).into_par_iter().for_each(|_| {
                    let sum = parameter.get().sum(&[], false).expect("a sum");
                    sum.backward().expect("a gradient");
                });
            });
            done.send(parameter.gradient().and_then(|gradient| gradient.to_vec().ok())).expect("a receiver");
        });
        let gradient = ended.recv_timeout(Duration::from_secs(60)).expect("an end").expect("a gradient");
        assert!(gradient.iter().all(|x| *x == PASSES as f32));
    }
}
