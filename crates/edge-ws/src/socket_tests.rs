//! A socket over a pipe of a few bytes.

use std::future::poll_fn;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

/// A masked frame, as devices send it.
fn sent(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frames::write(opcode, payload, &mut frame);
    let header = frame.len() - payload.len();
    frame[1] |= 0x80;
    // a mask of zeros changes nothing
    [&frame[..header], &[0; 4], payload].concat()
}

async fn next(socket: &mut Socket<DuplexStream>) -> Result<Message, Broken> {
    poll_fn(|cx| socket.poll_message(cx)).await
}

fn is_idle(socket: &Socket<DuplexStream>) -> bool {
    socket.busy.is_none()
}

#[tokio::test]
async fn messages_come_out_whole_and_in_order_and_an_idle_socket_holds_nothing() {
    for pipe in [1, 3, 100, 100_000] {
        let (mut device, stream) = duplex(pipe);
        let mut socket = Socket::new(stream);
        let large = vec![7; MAX_FRAME];
        let mut bytes = sent(Opcode::Binary, &large);
        // in three frames, a ping between them
        for (first, payload) in [(0x02, "a"), (0x89, "ping"), (0x00, "b"), (0x80, "c")] {
            let mut frame = sent(Opcode::Binary, payload.as_bytes());
            frame[0] = first;
            bytes.extend(frame);
        }
        for n in 0..2_000_u16 {
            bytes.extend(sent(Opcode::Binary, &n.to_be_bytes()));
        }
        let writing = tokio::spawn(async move {
            device.write_all(&bytes).await.expect("written");
            device
        });
        let binary = |payload: &[u8]| Ok(Message::Binary(payload.to_vec().into()));
        assert_eq!(next(&mut socket).await, binary(&large));
        assert_eq!(next(&mut socket).await, Ok(Message::Ping("ping".into())));
        assert_eq!(next(&mut socket).await, binary(b"abc"));
        for n in 0..2_000_u16 {
            assert_eq!(next(&mut socket).await, binary(&n.to_be_bytes()));
        }
        assert!(is_idle(&socket), "{pipe}");
        drop(writing.await.expect("no panic"));
        assert_eq!(next(&mut socket).await, Err(Broken::Gone));
    }
}

#[tokio::test]
async fn a_full_pipe_loses_no_frame_and_only_old_pongs() {
    let (mut device, stream) = duplex(16);
    let mut socket = Socket::new(stream);
    let put = |socket: &mut Socket<_>, opcode, payload: &[u8]| {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match opcode {
            Opcode::Pong => socket.pong(&mut cx, payload),
            opcode => socket.put(&mut cx, opcode, payload),
        }
        .expect("not broken");
    };
    let mut expected = Vec::new();
    put(&mut socket, Opcode::Pong, b"at once");
    assert!(socket.is_drained() && is_idle(&socket));
    put(&mut socket, Opcode::Binary, &[1; 300]);
    assert!(!socket.is_drained(), "it fits into the pipe");
    put(&mut socket, Opcode::Pong, b"old");
    put(&mut socket, Opcode::Pong, b"new");
    put(&mut socket, Opcode::Binary, &[2; 300]);
    frames::write(Opcode::Pong, b"at once", &mut expected);
    frames::write(Opcode::Binary, &[1; 300], &mut expected);
    frames::write(Opcode::Binary, &[2; 300], &mut expected);
    frames::write(Opcode::Pong, b"new", &mut expected);
    // it is heard all the same
    device.write_all(&sent(Opcode::Pong, b"")).await.expect("written");
    assert_eq!(next(&mut socket).await, Ok(Message::Pong));
    let mut read = vec![0; expected.len()];
    let (drained, filled) =
        tokio::join!(poll_fn(|cx| socket.poll_drain(cx)), device.read_exact(&mut read));
    drained.and(filled.map(drop)).expect("a pipe");
    assert!(read == expected && is_idle(&socket));
    drop(device);
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert!(socket.put(&mut cx, Opcode::Ping, b"").is_err());
}

/// A pong that waited for the backlog was once written after the close.
#[tokio::test]
async fn a_close_is_the_last_frame() {
    let (mut device, stream) = duplex(16);
    let mut socket = Socket::new(stream);
    let mut expected = Vec::new();
    let mut cx = Context::from_waker(std::task::Waker::noop());
    socket.put(&mut cx, Opcode::Binary, &[1; 300]).expect("not broken");
    socket.pong(&mut cx, b"late").expect("not broken");
    socket.put(&mut cx, Opcode::Close, &frames::close(4403, "revoked")).expect("not broken");
    frames::write(Opcode::Binary, &[1; 300], &mut expected);
    frames::write(Opcode::Close, &frames::close(4403, "revoked"), &mut expected);
    let writing = async move {
        poll_fn(|cx| socket.poll_drain(cx)).await.expect("a pipe");
        drop(socket);
    };
    let mut read = Vec::new();
    let ((), filled) = tokio::join!(writing, device.read_to_end(&mut read));
    filled.expect("a pipe");
    assert!(read == expected);
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_and_what_follows_is_discarded() {
    let (mut device, stream) = duplex(64);
    let mut socket = Socket::new(stream);
    let writing = async move {
        device.write_all(&sent(Opcode::Binary, &[0; MAX_FRAME + 1])).await.expect("read");
    };
    let reading = async {
        assert_eq!(next(&mut socket).await, Err(Broken::Unreadable));
        poll_fn(|cx| socket.poll_gone(cx)).await;
    };
    tokio::join!(writing, reading);
}
