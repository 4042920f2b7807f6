//! A tensor that training changes.

use std::sync::{Arc, PoisonError, RwLock};

use super::autograd::{Node, is_recording};
use super::{Result, Tensor, TensorError};

/// A trained tensor: its value is replaced step by step, its gradient gathers between steps. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Parameter {
    value: Arc<RwLock<Tensor>>,
    node: Arc<Node>,
}

impl Parameter {
    /// A parameter that begins as `value`.
    pub fn new(value: Tensor) -> Self {
        Parameter { value: Arc::new(RwLock::new(value.detach())), node: Node::leaf() }
    }

    /// The value, for use in a network: gradients flow back into the parameter.
    pub fn get(&self) -> Tensor {
        let value = self.value.read().unwrap_or_else(PoisonError::into_inner).clone();
        if is_recording() { value.on(self.node.clone()) } else { value }
    }

    /// Replaces the value.
    ///
    /// # Errors
    /// Where the shapes differ.
    pub fn set(&self, value: Tensor) -> Result<()> {
        let mut held = self.value.write().unwrap_or_else(PoisonError::into_inner);
        if held.shape() != value.shape() {
            return Err(TensorError::shapes("set", held.shape(), value.shape(), "a value of the parameter's shape"));
        }
        *held = value.detach();
        Ok(())
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
