//! Servers on loopback; each behaviour is a function of the accepted connection.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Serves every connection with `behave`, for as long as the test's runtime lives.
pub(super) async fn start<F, Fut>(behave: F) -> SocketAddr
where
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(behave(stream));
        }
    });
    address
}

/// Reads a request's head.
pub(super) async fn request(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(request).unwrap()
}

/// Reads a request and answers with `text`.
pub(super) async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, text: &str) {
    request(&mut stream).await;
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// Reads a request and answers with `head`, then `more` again and again, with `pause` in between.
pub(super) async fn endless(mut stream: TcpStream, head: &str, more: &str, pause: Duration) {
    request(&mut stream).await;
    let _ = stream.write_all(head.as_bytes()).await;
    while stream.write_all(more.as_bytes()).await.is_ok() {
        tokio::time::sleep(pause).await;
    }
}

/// Says nothing, and keeps the connection.
pub(super) async fn hang(stream: TcpStream) {
    std::future::pending::<()>().await;
    drop(stream);
}

/// Speaks first.
pub(super) async fn banner(mut stream: TcpStream, text: &[u8]) {
    let _ = stream.write_all(text).await;
    hang(stream).await;
}
