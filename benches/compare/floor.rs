//! The minimum cost of any agent: reads the same files with pread on descriptors that stay open, and writes the same
//! number of bytes to a socket, once per cycle. Nothing is parsed.
//!
//! `floor ADDRESS BYTES INTERVAL_MS FILE…`; a FILE that ends in `/*/stat` stands for one file per process. These files
//! are opened in every cycle, because processes start and end.

use std::fs::File;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().expect("floor ADDRESS BYTES INTERVAL_MS FILE…");
    let mut socket = TcpStream::connect(next()).expect("connect");
    socket.set_nodelay(true).expect("nodelay");
    let bytes: usize = next().parse().expect("bytes");
    let interval = Duration::from_millis(next().parse().expect("interval"));
    let paths: Vec<String> = arguments.collect();
    let files: Vec<File> =
        paths.iter().filter(|p| !p.ends_with("/*/stat")).map(|p| File::open(p).expect(p)).collect();
    let processes: Option<&str> = paths.iter().find_map(|p| p.strip_suffix("/*/stat"));
    let mut buffer = vec![0; 1 << 20];
    let message = vec![0; bytes];
    let mut tick = Instant::now();
    loop {
        tick += interval;
        std::thread::sleep(tick.saturating_duration_since(Instant::now()));
        for file in &files {
            read(file, &mut buffer);
        }
        if let Some(proc) = processes {
            for entry in std::fs::read_dir(proc).expect("proc").flatten() {
                if entry.file_name().as_encoded_bytes()[0].is_ascii_digit() {
                    if let Ok(file) = File::open(entry.path().join("stat")) {
                        file.read_at(&mut buffer, 0).ok();
                    }
                }
            }
        }
        socket.write_all(&message).expect("write");
    }
}

fn read(file: &File, buffer: &mut [u8]) {
    let mut at = 0;
    while let Ok(n) = file.read_at(buffer, at) {
        if n == 0 {
            return;
        }
        at += n as u64;
    }
}
