//! Records of the outbox: the first byte chooses a file as it is, or a record of which bytes were damaged.

#![no_main]

use heka_insights_agent::internals::outbox::record::{Header, decode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let [choice, rest @ ..] = input else { return };
    if choice % 2 == 0 {
        let header = Header::decode(rest);
        let seq = header.map_or(0, |header| header.seq);
        if let Some(payload) = decode(rest.to_vec(), seq) {
            let header = header.expect("a record has a header");
            assert_eq!(payload.len(), header.payload_len as usize);
            assert_eq!([&header.encode(&payload)[..], &payload].concat(), rest, "a record that is read was written so");
        }
        return;
    }
    // Where, to which byte, then the payload.
    let [high, low, byte, payload @ ..] = rest else { return };
    let header = Header { seq: 7, payload_len: payload.len() as u32, points: 1, wall_nanos: 2, up_nanos: 3, boot_id: 4 };
    let mut file = [&header.encode(payload)[..], payload].concat();
    assert_eq!(decode(file.clone(), 7).as_deref(), Some(payload));
    let place = usize::from(u16::from_be_bytes([*high, *low])) % file.len();
    if file[place] != *byte {
        file[place] = *byte;
        assert_eq!(decode(file, 7), None, "a damaged record was taken");
    }
});
