//! What a device and its driver are, and whether kernels can run there.

use std::ffi::c_int;

use cudarc::driver::{result, sys};

use super::Outcome;

/// The oldest driver that has every function that is called here: `cuEventElapsedTime_v2` came last.
const LEAST_VERSION: u32 = 12_080;
/// The least compute capability that has what the kernels are made of: bf16 on tensor cores, asynchronous copies.
const LEAST_CAPABILITY: u32 = 80;

/// What a device and its driver say of themselves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    /// The newest CUDA that the driver speaks, such as 13000.
    pub(super) version: u32,
    pub(super) capability: u32,
    pub(super) multiprocessors: u32,
    /// The most shared memory a block can have, in bytes.
    pub(super) most_shared: u32,
}

impl Facts {
    pub(super) fn of(ordinal: usize) -> Outcome<(sys::CUdevice, Self)> {
        use sys::CUdevice_attribute as Attribute;
        let device = result::device::get(ordinal as c_int)?;
        // SAFETY: the device exists.
        let attribute = |which| unsafe { result::device::get_attribute(device, which) }.map(|n| n as u32);
        let facts = Facts {
            version: version()? as u32,
            capability: 10 * attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?
                + attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
            multiprocessors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
            most_shared: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?,
        };
        Ok((device, facts))
    }

    /// What is too old for the kernels, and what to do.
    pub(super) fn too_old(self) -> Option<String> {
        let numbers = |version: u32| format!("{}.{}", version / 1000, version % 1000 / 10);
        if self.version < LEAST_VERSION {
            let (found, least) = (numbers(self.version), numbers(LEAST_VERSION));
            return Some(format!(
                "the NVIDIA driver speaks CUDA {found}, and CUDA {least} or newer is needed: update the driver, best to \
                 one of CUDA 13, or use the device \"cpu\""
            ));
        }
        (self.capability < LEAST_CAPABILITY).then(|| {
            let [found, least] = [self.capability, LEAST_CAPABILITY].map(|n| format!("{}.{}", n / 10, n % 10));
            format!(
                "it has compute capability {found}, and the kernels need compute capability {least} or newer (Ampere): \
                 use another GPU, or the device \"cpu\""
            )
        })
    }
}

/// The driver's version, such as 13000.
pub(super) fn version() -> Outcome<c_int> {
    let mut version = 0;
    // SAFETY: one number is written.
    unsafe { sys::cuDriverGetVersion(&mut version) }.result()?;
    Ok(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(version: u32, capability: u32) -> Option<String> {
        Facts { version, capability, multiprocessors: 100, most_shared: 101_376 }.too_old()
    }

    #[test]
    fn what_is_too_old_is_told_with_what_is_needed() {
        assert_eq!([told(12_080, 80), told(13_000, 90)], [None, None]);
        let driver = told(12_040, 90).unwrap();
        assert!(driver.contains("speaks CUDA 12.4") && driver.contains("CUDA 12.8 or newer"), "{driver}");
        let device = told(13_000, 75).unwrap();
        assert!(device.contains("capability 7.5") && device.contains("capability 8.0 or newer"), "{device}");
    }
}
