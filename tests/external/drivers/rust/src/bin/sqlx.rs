use sqlx::{Connection, MySqlConnection};

#[tokio::main]
async fn main() {
    let password = std::env::var("PASSWORD").unwrap();
    let url = format!("mysql://root:{}@127.0.0.1:{}/test?ssl-mode=disabled", password, std::env::args().nth(1).unwrap());
    let mut connection = MySqlConnection::connect(&url).await.unwrap();
    connection.ping().await.unwrap();
    macro_rules! ask {
        ($wanted:expr, $sql:expr, $($arg:expr),*) => {{
            let query = sqlx::query_scalar::<_, i64>($sql)$(.bind($arg))*;
            assert_eq!(query.fetch_one(&mut connection).await.unwrap(), $wanted);
        }};
    }
    drivers::steps!(ask);
}
