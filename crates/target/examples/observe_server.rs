//! What memtrial does as `memtrial observe-server FOLDER`, for tests: answers on stdin and stdout until stdin ends.

use std::io;
use std::path::Path;

fn main() -> io::Result<()> {
    let folder = std::env::args_os().nth(2).unwrap_or_default();
    memtrial_target::observe::server::serve(io::stdin(), io::stdout(), Path::new(&folder))
}
