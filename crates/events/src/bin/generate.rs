//! Writes what is made of memory.events into the tree.

use std::path::Path;
use std::process::ExitCode;

use memtrial_events::generate;

fn main() -> ExitCode {
    let files = match generate::files() {
        Ok(files) => files,
        Err(why) => {
            eprintln!("error: {why}");
            return ExitCode::FAILURE;
        }
    };
    for made in files {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(made.path);
        let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        if let Err(why) = folder.and_then(|()| std::fs::write(&path, made.text)) {
            eprintln!("error: cannot write {}: {why}", made.path);
            return ExitCode::FAILURE;
        }
        println!("{}", made.path);
    }
    ExitCode::SUCCESS
}
