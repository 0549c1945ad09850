//! Where the report of a run goes. Files are made before the run: one that can't be written must not cost a report.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use crate::failure::Failure;

/// A file to be written, and its name.
struct Output {
    name: String,
    sink: Box<dyn Write>,
}

impl Output {
    fn open(option: &str, path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let file = File::create(path)
            .map_err(|error| Failure::Usage(format!("{option}: {name}: {error}")))?;
        Ok(Self { name, sink: Box::new(file) })
    }

    fn write(mut self, text: &str) -> Result<(), Failure> {
        let written = self.sink.write_all(text.as_bytes()).and_then(|()| self.sink.flush());
        written.map_err(|error| Failure::Write(self.name, error))
    }
}

/// Where words, JSON and the drawing go.
pub(crate) struct Outputs {
    words: Output,
    json: Option<Output>,
    html: Option<Output>,
}

impl Outputs {
    /// Words go to stdout, or to stderr if JSON is asked for, which may take stdout (`-`).
    pub(crate) fn open(json: Option<&Path>, html: Option<&Path>) -> Result<Self, Failure> {
        if let (Some(json), Some(html)) = (json, html)
            && json == html
        {
            return Err(Failure::Usage("--json and --html: name two files".to_owned()));
        }
        let stdout = || Output { name: "stdout".to_owned(), sink: Box::new(io::stdout()) };
        let words = match json {
            Some(_) => Output { name: "stderr".to_owned(), sink: Box::new(io::stderr()) },
            None => stdout(),
        };
        let json = json.map(|path| {
            if path == Path::new("-") { Ok(stdout()) } else { Output::open("--json", path) }
        });
        let html = html.map(|path| Output::open("--html", path));
        Ok(Self { words, json: json.transpose()?, html: html.transpose()? })
    }

    /// Writes the least first, so that a full disk takes least; one that can't be written doesn't keep the others.
    pub(crate) fn publish(
        self,
        report: &(impl Display + Serialize),
        page: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        let words = self.words.write(&report.to_string());
        let text = serde_json::to_string(report).expect("a report has nothing JSON can't hold");
        let json = self.json.map_or(Ok(()), |json| json.write(&(text + "\n")));
        let html = self.html.map_or(Ok(()), |html| html.write(&page()));
        words.and(json).and(html)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    #[test]
    fn a_file_that_cant_be_made_is_named_with_its_option() {
        let dir = tempfile::tempdir().expect("a folder");
        let nowhere = dir.path().join("none/report");
        let good = dir.path().join("good");
        for (json, html, option) in
            [(&*nowhere, &*good, "--json: "), (&*good, &*nowhere, "--html: ")]
        {
            let Err(refused) = Outputs::open(Some(json), Some(html)) else { panic!("{option}") };
            assert_eq!(refused.exit(), Exit::Usage);
            let said = refused.to_string();
            assert!(said.starts_with(option) && said.contains("none/report: No such"), "{said}");
        }
    }

    #[test]
    fn one_file_isnt_written_twice() {
        let dir = tempfile::tempdir().expect("a folder");
        let both = dir.path().join("report");
        let refused = Outputs::open(Some(&both), Some(&both)).err().expect("refused");
        assert!(refused.to_string().contains("name two files") && !both.exists(), "{refused}");
    }

    #[test]
    fn what_cant_be_written_doesnt_keep_the_rest() {
        let dir = tempfile::tempdir().expect("a folder");
        let html = dir.path().join("report.html");
        // a disk that is always full
        let outputs = Outputs::open(Some(Path::new("/dev/full")), Some(&html)).expect("opened");
        let full = outputs.publish(&"words\n", || "drawn".to_owned()).expect_err("full");
        assert!(full.to_string().starts_with("/dev/full: No space"), "{full}");
        assert_eq!(std::fs::read_to_string(html).expect("it is there"), "drawn");
    }
}
