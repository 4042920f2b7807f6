//! A tensor that training changes.

use std::cell::RefCell;
use std::sync::{Arc, PoisonError, RwLock};

use super::autograd::{Node, is_recording};
use super::{DType, Result, Tensor, TensorError};

/// A trained tensor: its value is replaced step by step, its gradient gathers between steps. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Parameter {
    held: Arc<RwLock<Held>>,
    node: Arc<Node>,
}

/// A value, and how many were there before it.
#[derive(Debug)]
struct Held {
    value: Tensor,
    changes: u64,
}

impl Parameter {
    /// A parameter that begins as `value`.
    pub fn new(value: Tensor) -> Self {
        let held = Held { value: value.detach(), changes: 0 };
        Parameter { held: Arc::new(RwLock::new(held)), node: Node::leaf() }
    }

    /// The value, for use in a network: gradients flow back into the parameter, unless it holds indices.
    pub fn get(&self) -> Tensor {
        let (value, changes) = self.value_and_changes();
        USED.with_borrow_mut(|used| used.iter_mut().for_each(|used| used.push((self.clone(), changes))));
        if is_recording() && value.dtype() != DType::I32 { value.on(self.node.clone()) } else { value }
    }

    /// The value off the tape, where nothing that has a gradient is worked out from it.
    pub(crate) fn value(&self) -> Tensor {
        self.value_and_changes().0
    }

    /// The value off the tape, and how often it was replaced.
    pub(super) fn value_and_changes(&self) -> (Tensor, u64) {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        (held.value.clone(), held.changes)
    }

    /// Replaces the value; numbers may be of another precision. An optimiser goes on from it.
    ///
    /// # Errors
    /// Where the shapes or devices differ, or one is of numbers and the other of indices.
    pub fn set(&self, value: Tensor) -> Result<()> {
        self.replace(value).map(drop)
    }

    /// [`Parameter::set`], and how often the value was replaced by then.
    pub(super) fn replace(&self, value: Tensor) -> Result<u64> {
        let mut place = self.held.write().unwrap_or_else(PoisonError::into_inner);
        let held = &place.value;
        if held.shape() != value.shape() {
            return Err(TensorError::shapes("set", held.shape(), value.shape(), "a value of the parameter's shape"));
        }
        held.expect_same_device("set", &value)?;
        if (held.dtype() == DType::I32) != (value.dtype() == DType::I32) {
            return Err(TensorError::DTypes { operation: "set", left: held.dtype(), right: value.dtype() });
        }
        *place = Held { value: value.detach(), changes: place.changes + 1 };
        Ok(place.changes)
    }

    /// What tells this parameter, and its clones, from others.
    pub(crate) fn identity(&self) -> *const Node {
        Arc::as_ptr(&self.node)
    }

    /// What backward passes have gathered since it was last cleared.
    pub fn gradient(&self) -> Option<Tensor> {
        self.node.gradient()
    }

    /// Forgets the gradient.
    pub fn clear_gradient(&self) {
        self.node.clear_gradient();
    }
}

thread_local! {
    /// Where it is noted, what values of parameters were used on this thread.
    static USED: RefCell<Option<Vec<(Parameter, u64)>>> = const { RefCell::new(None) };
}

/// Parameters that a part of a network used, and how often each had been replaced by then.
pub(super) struct Used(Vec<(Parameter, u64)>);

impl Used {
    /// Runs a part and notes what it uses on this thread.
    pub(super) fn by<T>(part: impl FnOnce() -> T) -> (T, Used) {
        /// Puts the former notes back, also where the part unwinds.
        struct Restore(Option<Vec<(Parameter, u64)>>);
        impl Drop for Restore {
            fn drop(&mut self) {
                USED.set(self.0.take());
            }
        }
        let _restore = Restore(USED.replace(Some(Vec::new())));
        let result = part();
        (result, Used(USED.take().unwrap_or_default()))
    }

    /// The error that one of them was replaced since.
    pub(super) fn expect_unchanged(&self, operation: &'static str) -> Result<()> {
        for (parameter, changes) in &self.0 {
            let (value, now) = parameter.value_and_changes();
            if now != *changes {
                return Err(TensorError::Replaced { operation, shape: value.shape(), times: now - changes });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Cpu;

    #[test]
    fn a_value_of_another_device_is_refused() {
        let zeros = || Tensor::zeros(&Cpu::device(), [2]).expect("zeros");
        let error = Parameter::new(zeros()).set(zeros()).expect_err("two devices");
        assert!(matches!(error, TensorError::Devices { operation: "set", .. }), "{error}");
    }

    #[test]
    fn indices_do_not_become_numbers_nor_the_other_way_round() {
        let device = Cpu::device();
        let (zeros, indices) = (Tensor::zeros(&device, [2]), Tensor::indices(&device, [2], &[1, 2]));
        let (zeros, indices) = (zeros.expect("zeros"), indices.expect("indices"));
        let refused = |held: &Tensor, value: &Tensor| Parameter::new(held.clone()).set(value.clone()).is_err();
        assert!(refused(&zeros, &indices) && refused(&indices, &zeros));
        assert!(!refused(&zeros, &zeros.to_dtype(DType::Bf16).expect("zeros")) && !refused(&indices, &indices));
        let error = Parameter::new(zeros).set(indices.clone()).expect_err("indices").to_string();
        assert_eq!(error, "set of f32 and i32: expected one dtype");
        assert!(!Parameter::new(indices.clone()).get().wants_gradient() && !indices.with_gradient().wants_gradient());
    }
}
