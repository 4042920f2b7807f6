//! Kernels by name: a family is compiled and loaded when one of its kernels is first asked for.

use std::collections::HashMap;
use std::ffi::CString;
use std::sync::Mutex;

use cudarc::driver::{result, sys};

use super::super::machine::Kernel;
use super::super::program::Programs;
use super::{Handle, locked, told};

/// Dynamic shared memory that every kernel may use without being told, in bytes.
const GRANTED_SHARED: u32 = 48 * 1024;

type Function = Handle<sys::CUfunc_st>;
type Module = Handle<sys::CUmod_st>;

/// The kernels of a device.
#[derive(Debug)]
pub(super) struct Kernels {
    programs: Programs,
    /// The most shared memory a block can have, in bytes.
    most_shared: u32,
    families: Mutex<HashMap<&'static str, Family>>,
}

#[derive(Debug)]
struct Family {
    module: Module,
    /// Each kernel asked for so far, and how much dynamic shared memory it was granted.
    functions: HashMap<String, (Function, u32)>,
}

impl Kernels {
    pub(super) fn new(programs: Programs, most_shared: u32) -> Self {
        Kernels { programs, most_shared, families: Mutex::default() }
    }

    /// A kernel that may use so much dynamic shared memory; the device's context is current.
    pub(super) fn function(&self, kernel: Kernel<'_>, shared_bytes: u32) -> Result<Function, String> {
        let mut families = locked(&self.families);
        if !families.contains_key(kernel.family) {
            let module = self.load(kernel.family)?;
            families.insert(kernel.family, Family { module, functions: HashMap::new() });
        }
        let family = families.get_mut(kernel.family).ok_or("a family is not there")?;
        if !family.functions.contains_key(kernel.name) {
            let function = find(family.module, kernel)?;
            family.functions.insert(kernel.name.to_owned(), (function, GRANTED_SHARED));
        }
        let (function, granted) = family.functions.get_mut(kernel.name).ok_or("a kernel is not there")?;
        if shared_bytes > *granted {
            self.grant(*function, kernel, shared_bytes)?;
            *granted = shared_bytes;
        }
        Ok(*function)
    }

    fn load(&self, family: &str) -> Result<Module, String> {
        let code = self.programs.code(family)?;
        // SAFETY: the code is a whole CUBIN, which tells its own length.
        let module = unsafe { result::module::load_data(code.as_ptr().cast()) };
        module.map(Handle).map_err(|e| {
            // Another compiler may make what this driver takes.
            self.programs.discard(family);
            format!("loading kernels/{family}.cu: {}", told(e))
        })
    }

    fn grant(&self, function: Function, kernel: Kernel<'_>, bytes: u32) -> Result<(), String> {
        let name = kernel.name;
        if bytes > self.most_shared {
            return Err(format!("{name} needs {bytes} bytes of shared memory; a block has {}", self.most_shared));
        }
        let attribute = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        // SAFETY: the function is of a loaded module.
        unsafe { result::function::set_function_attribute(function.0, attribute, bytes as i32) }
            .map_err(|e| format!("granting {name} {bytes} bytes of shared memory: {}", told(e)))
    }

    /// Unloads everything; no kernel runs any more.
    pub(super) fn release(&self) {
        for (_, family) in locked(&self.families).drain() {
            // SAFETY: the module was loaded once, and its functions go with it.
            let _ = unsafe { result::module::unload(family.module.0) };
        }
    }
}

fn find(module: Module, kernel: Kernel<'_>) -> Result<Function, String> {
    let name = CString::new(kernel.name).map_err(|e| e.to_string())?;
    // SAFETY: the module is loaded.
    unsafe { result::module::get_function(module.0, name) }
        .map(Handle)
        .map_err(|e| format!("kernels/{}.cu has no kernel {}: {}", kernel.family, kernel.name, told(e)))
}
