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

fn writer() -> StdoutWriter<u64> {
    StdoutWriter { lines: Vec::new(), record: PhantomData }
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
fn a_closed_output_is_an_error() {
    let mut writer = writer();
    writer.write(1).unwrap();
    let error = writer.print(&mut Closed).unwrap_err().to_string();
    assert!(error.contains("standard output"), "{error}");
}
