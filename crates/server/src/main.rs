//! The `countersign` program.

use mimalloc::MiMalloc;
use server::exit::Exit;

/// A request makes some hundred small objects, many freed by another thread than made them: glibc's allocator took a
/// fifth of the server's time (docs/performance.md).
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> Exit {
    server::commands::main()
}
