use super::*;

struct Closed;

impl Write for Closed {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn writer_of<T: Data>(sink: &Stdout<T>) -> StdoutWriter<T> {
    StdoutWriter { lines: Vec::new(), encode: sink.encode }
}

fn writer() -> StdoutWriter<u64> {
    writer_of(&Stdout::new())
}

#[test]
fn each_record_is_a_line_and_is_printed_once() {
    let mut writer = writer();
    writer.write(1).unwrap();
    writer.write(22).unwrap();
    let mut out = Vec::new();
    writer.print(&mut out).unwrap();
    writer.print(&mut out).unwrap();
    assert_eq!(out, b"1\n22\n");
}

#[test]
fn a_job_whose_output_nobody_reads_any_more_ends_without_an_error() {
    let mut writer = writer();
    writer.write(1).unwrap();
    let error = writer.print(&mut Closed).unwrap_err();
    assert_eq!(crate::failure::Failure::user(&error).kind, crate::failure::FailureKind::OutputClosed);
}

#[test]
fn records_are_printed_as_json_and_one_that_has_no_json_leaves_nothing_of_itself() {
    let mut writer = writer_of(&Stdout::jsonl());
    let record = |key: Option<u64>| {
        (7, std::collections::BTreeMap::from([(key.map(|key| vec![key]), "a\nb".to_string())]))
    };
    writer.write(record(None)).unwrap_err();
    writer.write((8, std::collections::BTreeMap::new())).unwrap();
    let mut out = Vec::new();
    writer.print(&mut out).unwrap();
    assert_eq!(out, b"[8,{}]\n");

    let mut writer = writer_of(&Stdout::jsonl());
    writer.write(("a\nb".to_string(), 1.5)).unwrap();
    let mut out = Vec::new();
    writer.print(&mut out).unwrap();
    assert_eq!(out, b"[\"a\\nb\",1.5]\n");
}
