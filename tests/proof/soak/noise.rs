//! Connections that say nothing, or half of it, or nonsense; and lists.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{io::AsyncWriteExt, net::TcpStream, time::sleep};

use super::load::World;
use crate::common::{
    Client,
    dice::Dice,
    http::{Request, get},
    mysql::MySql,
};

pub(crate) async fn noise(world: Arc<World>, mut dice: Dice) {
    while !world.is_over() {
        match dice.below(6) {
            0 => half_said(&world, &mut dice).await,
            1 => nonsense(world.addrs.line).await,
            2 => many_locks(&world).await,
            3 => changed_user(&world).await,
            4 => lists(&world).await,
            _ => waits_and_hangs_up(&world, &mut dice).await,
        }
        world.tally.count("noise");
        sleep(Duration::from_micros(dice.below(20_000))).await;
    }
}

/// A connection to any port that ends in the middle of what any protocol has to say first.
async fn half_said(world: &World, dice: &mut Dice) {
    let addr = dice.pick(&[world.addrs.line, world.addrs.mysql, world.addrs.http]);
    let said: &[u8] = dice.pick(&[
        &b""[..],
        b"GET_LOCK soak-1",
        b"\x20\0\0\x01\x85\xa6",
        b"POST /api/lock/acquire HTTP/1.1\r\nhost: localhost\r\ncontent-length: 90\r\n\r\n{",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    ]);
    let mut stream = TcpStream::connect(addr).await.unwrap();
    drop(stream.write_all(said).await);
    sleep(Duration::from_micros(dice.below(5_000))).await;
    if dice.one_in(2) {
        stream.set_zero_linger().unwrap();
    }
}

async fn nonsense(line: SocketAddr) {
    let mut client = Client::connect(line).await;
    assert!(client.ask("GET_LOKC soak-1 0").await.starts_with("ERROR UNKNOWN_COMMAND "));
    client.send(&"x".repeat(2_000)).await;
    assert!(client.rest().await.starts_with("ERROR LINE_TOO_LONG "));
}

/// Locks that nobody else asks for; they are freed by the end of the connection.
async fn many_locks(world: &World) {
    let mut client = Client::connect(world.addrs.line).await;
    let id = client.id().await;
    let lines: String = (0..500).map(|lock| format!("GET_LOCK many-{id}-{lock} 0\n")).collect();
    client.send_bytes(lines.as_bytes()).await;
    for _ in 0..500 {
        assert_eq!(client.line().await, "1");
    }
}

async fn changed_user(world: &World) {
    let mut mysql = MySql::connect(world.addrs.mysql).await;
    let name = format!("changed-{}", mysql.id);
    assert_eq!(mysql.value(&format!("SELECT GET_LOCK('{name}', 0)")).await.as_deref(), Some("1"));
    mysql.command(b"\x1f").await; // COM_RESET_CONNECTION
    assert_eq!(mysql.value(&format!("SELECT IS_FREE_LOCK('{name}')")).await.as_deref(), Some("1"));
}

async fn lists(world: &World) {
    let mut client = Client::connect(world.addrs.line).await;
    for list in ["LOCKS", "WAITERS soak-1", "WHY soak-1", "STATS"] {
        client.list(list).await;
    }
    assert_eq!(get(world.addrs.http, "/api/locks").await.0, 200);
    let mut mysql = MySql::connect(world.addrs.mysql).await;
    mysql.query("SELECT * FROM performance_schema.metadata_locks").await;
}

async fn waits_and_hangs_up(world: &World, dice: &mut Dice) {
    let waiting = Request::send(world.addrs.http, "GET", "/getLock/soak-1?wait=600&ttl=20ms", "").await;
    sleep(Duration::from_micros(dice.below(10_000))).await;
    drop(waiting);
}
