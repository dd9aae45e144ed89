//! The settings that apply to whatever is done from now on.

use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use crate::command::Setting;
use crate::manual::MOST_REALLOCS;

/// The settings, which the heap thread changes and tests read at each allocation.
#[derive(Debug, Default)]
pub struct Settings {
    check_content: AtomicBool,
    realloc_percent: AtomicU8,
}

impl Settings {
    /// See [`Setting::CheckContent`].
    #[must_use]
    #[inline]
    pub fn check_content(&self) -> bool {
        self.check_content.load(Ordering::Relaxed)
    }

    /// See [`Setting::ReallocPercent`].
    #[must_use]
    #[inline]
    pub fn realloc_percent(&self) -> u8 {
        self.realloc_percent.load(Ordering::Relaxed)
    }

    /// A setting as a number.
    #[must_use]
    pub fn get(&self, setting: Setting) -> u64 {
        match setting {
            Setting::CheckContent => u64::from(self.check_content()),
            Setting::ReallocPercent => u64::from(self.realloc_percent()),
        }
    }

    /// Changes a setting, within its limits.
    pub fn set(&self, setting: Setting, value: u64) {
        match setting {
            Setting::CheckContent => self.check_content.store(value != 0, Ordering::Relaxed),
            Setting::ReallocPercent => {
                let percent = value.min(u64::from(MOST_REALLOCS)) as u8;
                self.realloc_percent.store(percent, Ordering::Relaxed);
            }
        }
    }
}
