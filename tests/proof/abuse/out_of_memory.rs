//! What ends the whole process, told honestly.

use super::attacked::Attacked;
use crate::common::{
    Client,
    mysql::MySql,
    program::{Program, next_with},
};

/// An allocation that fails ends the process, and with it all connections: Rust gives no other way out. Their clients
/// see it at once, and the next server begins with higher tokens.
#[tokio::test]
async fn failed_allocation_ends_the_process_visibly() {
    // More may be remembered than there is.
    let mut server = Attacked::with_address_space(300_000, &["--max-memory", "99999999999"]).await;
    let mut holder = Client::connect(server.at.line).await;
    assert_eq!(holder.ask("GET_LOCK kept 0").await, "1");
    let token: u64 = holder.ask("FENCING_TOKEN kept").await.parse().unwrap();
    let mysql = server.at.mysql;
    server.lets_the_neighbour_go();
    let greedy = tokio::spawn(async move {
        let mut all = Vec::new();
        loop {
            let mut greedy = MySql::connect(mysql).await;
            for at in 0..4 {
                greedy.query(&format!("SET @v{at} = REPEAT('x', 1000000)")).await;
            }
            all.push(greedy);
        }
    });
    assert_eq!(holder.next().await, None, "the connection has ended");
    assert!(greedy.await.is_err());
    next_with(server.program.log.as_mut().unwrap(), "memory allocation of");
    assert!(!server.program.child.wait().unwrap().success());

    let next = Program::start(&[]);
    let mut holder = Client::connect(next.addr).await;
    assert_eq!(holder.ask("GET_LOCK kept 0").await, "1");
    assert!(holder.ask("FENCING_TOKEN kept").await.parse::<u64>().unwrap() > token);
}
