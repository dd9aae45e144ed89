//! The machines that a trial works on: the one with the target, and the one that runs the actions.

use std::time::Duration;

use memtrial_target::observe::{ObserveError, Place};

/// The machines that a trial works on.
pub struct Places {
    /// Where the target is.
    pub target: Box<dyn Place>,
    /// Where the actions run, if elsewhere.
    pub actions: Option<Box<dyn Place>>,
    /// For how long a lost connection is tried to be made anew.
    pub patience: Duration,
    /// How often that was done.
    pub lost: u32,
}

impl Places {
    /// Where the actions run.
    pub fn actions(&mut self) -> &mut dyn Place {
        match &mut self.actions {
            Some(place) => &mut **place,
            None => &mut *self.target,
        }
    }

    /// Asks the target's machine; when the connection is lost, makes it anew and asks again.
    ///
    /// # Errors
    /// Those of the question, and of connecting.
    pub fn ask<T>(
        &mut self,
        mut question: impl FnMut(&mut dyn Place) -> Result<T, ObserveError>,
    ) -> Result<T, ObserveError> {
        match question(&mut *self.target) {
            Err(ObserveError::Lost { .. }) => {
                self.lost += 1;
                self.target.reconnect(self.patience)?;
                question(&mut *self.target)
            }
            other => other,
        }
    }
}
