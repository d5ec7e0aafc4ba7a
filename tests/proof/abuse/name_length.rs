//! Names and values without an end.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Neighbour, attacked::Attacked};
use crate::common::{
    PATIENCE,
    mysql::{DEPRECATE_EOF, MySql, Reply},
};

#[tokio::test]
async fn long_names_are_refused_as_by_mysql() {
    let mut server = Attacked::start(&[]).await;
    let mut neighbour = Neighbour::of(server.at.mysql).await;
    let mut a = MySql::connect_with(server.at.mysql, DEPRECATE_EOF, "shop").await;
    assert_eq!(a.value("SELECT GET_LOCK('mine', 0)").await.as_deref(), Some("1"));
    let long = |character: &str| character.repeat(65);
    for (attack, statement, code) in [
        ("name of a variable", format!("SET @`{}` = 1", long("v")), 3061),
        ("the same, looked at", format!("SELECT @{}", long("v")), 3061),
        ("the same, by INTO", format!("SELECT 1 INTO @{}", long("v")), 3061),
        ("USE", format!("USE `{}`", long("ö")), 1059),
        ("time_zone", format!("SET time_zone = '{}'", long("x")), 1298),
        ("lc_messages", format!("SET lc_messages = '{}'", long("x")), 1649),
        ("sql_mode", format!("SET sql_mode = '{}'", long("x")), 1231),
        ("isolation", format!("SET transaction_isolation = '{}'", long("x")), 1231),
        ("collation", format!("SET NAMES utf8mb4 COLLATE 'utf8mb4_{}'", long("x")), 1273),
        ("collation, alone", format!("SET collation_connection = 'utf8mb4_{}'", long("x")), 1273),
        ("a word as long as a packet", format!("SELECT {}", "x".repeat(1_000_000)), 1054),
    ] {
        let reply = a.query(&statement).await;
        assert_eq!(server.told(attack, &reply), code, "{attack}");
        let Reply::Error { text, .. } = reply else { panic!("an error") };
        assert!(text.len() <= 512, "{attack}: the error is {} bytes long", text.len());
    }
    let reply = a.command(&[b"\x02", long("d").as_bytes()].concat()).await;
    assert_eq!(server.told("COM_INIT_DB", &reply), 1059);
    assert_eq!(a.value("SELECT DATABASE()").await.as_deref(), Some("shop"), "nothing of it is kept");
    assert_eq!(a.value("SELECT IS_USED_LOCK('mine') = CONNECTION_ID()").await.as_deref(), Some("1"));
    let longest = "v".repeat(64);
    assert_eq!(server.told("a name of 64 characters", &a.query(&format!("SET @{longest} = 7")).await), 0);
    assert_eq!(a.value(&format!("SELECT @{longest}")).await.as_deref(), Some("7"));
    neighbour.is_well().await;
}

#[tokio::test]
async fn user_name_of_a_login_is_bounded() {
    let mut server = Attacked::start(&[]).await;
    let mut neighbour = Neighbour::of(server.at.mysql).await;
    let Err(refused) = MySql::connect_as(server.at.mysql, &"u".repeat(33), "").await else {
        panic!("let in")
    };
    assert_eq!(server.told("user of 33 characters", &refused), 1045);
    assert!(MySql::connect_as(server.at.mysql, &"ü".repeat(32), "").await.is_ok());
    // A login that is announced as larger than any is refused by its head: not a byte of it is waited for.
    let mut half = MySql::greeted(server.at.mysql).await;
    half.stream.write_all(&[0xFF, 0xEF, 0, 1]).await.unwrap();
    let reply = half.reply().await;
    assert_eq!(server.told("a login of 61 kB", &reply), 1153);
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE, half.stream.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert!(rest.is_empty(), "it is closed");
    neighbour.is_well().await;
}
