//! The `countersign` program.

use server::exit::Exit;

fn main() -> Exit {
    server::commands::main()
}
