//! Real drivers, unmodified, against the MySQL wire, while a line session contends with them.
//!
//! A driver that is not installed is skipped; with `DRIVERS=all` in the environment that is a
//! failure. `.ci/run` installs all of them, those of Python and Node below `target/drivers`.

use std::path::PathBuf;

use crate::driver::{contend, project, script};
use crate::{
    MACHINE,
    common::{
        TestServer, installed,
        skip::{all_drivers_are_wanted, skip_missing},
    },
};
use tokio::process::Command;

fn folder() -> PathBuf {
    project("tests/external/drivers")
}

macro_rules! scripts {
    ($($test:ident: $script:literal,)*) => {
        $(#[tokio::test]
        async fn $test() {
            let _beside_others = MACHINE.read().await;
            script(&folder(), $script).await;
        })*

        #[test]
        fn every_script_is_run() {
            let known = [$($script,)*];
            for entry in std::fs::read_dir(folder()).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                let is_part = name.starts_with("steps.") || name == "rust" || name.starts_with("__");
                assert!(is_part || known.contains(&name.as_str()), "{name}");
            }
        }
    };
}

scripts! {
    pymysql: "pymysql_.py",
    mysqlclient: "mysqlclient_.py",
    mysql_connector_python: "mysql_connector.py",
    aiomysql: "aiomysql_.py",
    sqlalchemy: "sqlalchemy_.py",
    node_mysql2: "mysql2.js",
    node_mysql: "mysqljs.js",
    node_mariadb: "mariadb.js",
    go_sql_driver: "go_sql_driver.go",
    php_mysqli: "mysqli.php",
    php_pdo_native: "pdo_native.php",
    php_pdo_emulated: "pdo_emulated.php",
    ruby_mysql2: "mysql2.rb",
    perl_dbd_mysql: "dbd_mysql.pl",
    mariadb_connector_j: "ConnectorJ.java",
}

#[tokio::test]
async fn rust_sqlx_and_mysql_async() {
    for name in ["sqlx", "mysql_async"] {
        let program = installed("rust/debug").join(name);
        if !program.exists() || !contend(&[program.display().to_string()], &folder()).await {
            skip_missing(name);
        }
    }
}

/// The tests that OpenStack's tooz has for its MySQL driver.
#[tokio::test]
async fn openstack_tooz() {
    let _beside_others = MACHINE.read().await;
    let server = TestServer::start();
    let python = installed("venv/bin/python");
    let mut command = Command::new(&python);
    command.args(["-m", "testtools.run", "tooz.tests.test_coordination", "tooz.tests.drivers.test_mysql"]);
    command.env("TOOZ_TEST_URL", format!("mysql://root:@{}/test", server.mysql)).current_dir(installed("."));
    let Ok(output) = command.kill_on_drop(true).output().await else {
        return skip_missing("tooz");
    };
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    if text.contains("No module named") && !all_drivers_are_wanted() {
        return skip_missing("tooz");
    }
    assert!(output.status.success() && text.contains("Ran 89 tests"), "{text}");
}
