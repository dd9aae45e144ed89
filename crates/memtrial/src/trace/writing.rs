//! Where hits go: the sink that a command line asks for, and what becomes of its errors.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;

use memtrial_report::trace::{Chrome, Counts, Ctf, Json, Simple, Sink, Text};
use memtrial_target::interrupt::{Interrupt, Stoppable};

use crate::arguments::trace::{Format, Writing};
use crate::exit::ExitStatus;
use crate::failure::Failure;

/// Where hits go unless a file is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    /// Where stdout is the target's.
    Stderr,
}

/// A sink, and what its errors are about.
pub struct Output<S: ?Sized = dyn Sink> {
    sink: Box<S>,
    name: String,
}

/// Refuses what can't be written together: `recorded` says whether a backend is to write a recording.
pub fn check(how: &Writing, recorded: bool) -> Result<(), Failure> {
    if how.stack && (recorded || how.format == Format::Simple) {
        return Err(Failure::new(ExitStatus::Usage, "a recording has no room for call stacks")
            .help("write --stack in another format: text, json, ctf or chrome"));
    }
    Ok(())
}

/// Opens the sink for a format, or for counts, to a stream unless a file is named. With `interrupt` hits are written as they
/// come, and when nobody reads them any more, the user can interrupt all the same.
pub fn sink(
    format: Format,
    count: bool,
    output: Option<&Path>,
    stream: Stream,
    interrupt: Option<&Interrupt>,
) -> Result<Output, Failure> {
    let sink = match (format, count, output) {
        (Format::Simple, false, None) => return Err(nameless("a recording is a file", "FILE")),
        (Format::Ctf, false, None) => {
            return Err(nameless("a trace in the Common Trace Format is a folder", "FOLDER"));
        }
        (Format::Simple, false, Some(path)) => {
            Simple::create(path).map(|sink| Box::new(sink) as Box<dyn Sink>)
        }
        (Format::Ctf, false, Some(path)) => Ctf::create(path).map(|sink| Box::new(sink) as _),
        _ => opened(output, stream, interrupt).map(|stream| to_stream(format, count, stream)),
    };
    named(sink, output, stream)
}

/// Opens a table of counts.
pub fn counts(output: Option<&Path>) -> Result<Output<Counts>, Failure> {
    let sink = opened(output, Stream::Stdout, None).map(|stream| Box::new(Counts::new(stream)));
    named(sink, output, Stream::Stdout)
}

fn named<S: ?Sized>(
    sink: io::Result<Box<S>>,
    output: Option<&Path>,
    stream: Stream,
) -> Result<Output<S>, Failure> {
    let name = match (output, stream) {
        (Some(path), _) => path.display().to_string(),
        (None, Stream::Stdout) => "stdout".to_owned(),
        (None, Stream::Stderr) => "stderr".to_owned(),
    };
    match sink {
        Ok(sink) => Ok(Output { sink, name }),
        Err(error) => {
            let status = if output.is_some() { ExitStatus::Usage } else { ExitStatus::Barred };
            Err(Failure::new(status, format!("cannot write {name}: {error}")))
        }
    }
}

fn to_stream(format: Format, count: bool, stream: Box<dyn Write>) -> Box<dyn Sink> {
    match format {
        _ if count => Box::new(Counts::new(stream)),
        Format::Json => Box::new(Json::new(stream)),
        Format::Chrome => Box::new(Chrome::new(stream)),
        Format::Text | Format::Simple | Format::Ctf => Box::new(Text::new(stream)),
    }
}

/// Opens a stream, or the file named instead.
fn opened(
    output: Option<&Path>,
    stream: Stream,
    interrupt: Option<&Interrupt>,
) -> io::Result<Box<dyn Write>> {
    let file = match (output, stream) {
        // In place, for it may be a pipe or a device.
        (Some(path), _) => OpenOptions::new().write(true).create(true).truncate(true).open(path)?,
        // Not by what the library has for it, which writes each line by itself.
        (None, Stream::Stdout) => File::from(io::stdout().as_fd().try_clone_to_owned()?),
        (None, Stream::Stderr) => File::from(io::stderr().as_fd().try_clone_to_owned()?),
    };
    Ok(match interrupt {
        Some(interrupt) => Box::new(Stoppable::new(file, interrupt.clone())),
        None => Box::new(file),
    })
}

fn nameless(what: &str, name: &str) -> Failure {
    Failure::new(ExitStatus::Usage, format!("{what}, and none is named"))
        .help(format!("name it by -o {name}"))
}

impl<S: ?Sized> Output<S> {
    /// What takes the hits.
    pub fn sink(&mut self) -> &mut S {
        &mut self.sink
    }

    /// The end of what was written with this result. That nobody reads any more, as in `… | head`, is an end as good as
    /// another.
    pub fn end(self, written: io::Result<()>) -> Result<ExitStatus, Failure> {
        match written {
            Ok(()) => Ok(ExitStatus::Passed),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitStatus::Passed),
            Err(error) => {
                let failure =
                    Failure::new(ExitStatus::Barred, format!("cannot write to {}: {error}", self.name));
                let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
                Err(if full { failure.help("make room; what was written before is kept") } else { failure })
            }
        }
    }
}
