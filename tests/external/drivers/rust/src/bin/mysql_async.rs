use mysql_async::{Conn, prelude::Queryable};

#[tokio::main]
async fn main() {
    let password = std::env::var("PASSWORD").unwrap();
    let url = format!("mysql://root:{}@127.0.0.1:{}/test", password, std::env::args().nth(1).unwrap());
    let mut connection = Conn::from_url(url).await.unwrap();
    connection.ping().await.unwrap();
    connection.reset().await.unwrap();
    macro_rules! ask {
        ($wanted:expr, $sql:expr,) => {{
            let got: Option<i64> = connection.query_first($sql).await.unwrap();
            assert_eq!(got, Some($wanted));
        }};
        ($wanted:expr, $sql:expr, $($arg:expr),+) => {{
            let got: Option<i64> = connection.exec_first($sql, ($($arg,)+)).await.unwrap();
            assert_eq!(got, Some($wanted));
        }};
    }
    drivers::steps!(ask);
}
