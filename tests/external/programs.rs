//! Real programs, unmodified and with no special options, against the MySQL wire: object-relational mappers, pools,
//! command lines, monitors. README.md in this folder says which, and which are left out.
//!
//! What is not installed is skipped; with `DRIVERS=all` in the environment that is a failure. `.ci/run` installs all.

mod command_lines;
mod monitors;
mod pools;
mod tool;

use std::path::PathBuf;

use crate::{
    MACHINE,
    driver::{program, project},
};

const README: &str = include_str!("programs/README.md");

fn folder() -> PathBuf {
    project("tests/external/programs/scripts")
}

macro_rules! scripts {
    ($($test:ident: $script:literal,)*) => {
        $(#[tokio::test]
        async fn $test() {
            let _beside_others = MACHINE.read().await;
            program(&folder(), $script).await;
        })*

        #[test]
        fn every_script_is_run_and_documented() {
            let known = [$($script,)*];
            for entry in std::fs::read_dir(folder()).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                if !name.starts_with("__") {
                    assert!(known.contains(&name.as_str()), "{name} is not run");
                    assert!(README.contains(&format!("`{name}`")), "README.md does not name {name}");
                }
            }
        }
    };
}

scripts! {
    active_record: "active_record.rb",
    alembic: "alembic_.py",
    asyncmy: "asyncmy_.py",
    dbd_mariadb: "dbd_mariadb.pl",
    dbix_class: "dbix_class.pl",
    django: "django_.py",
    doctrine_dbal: "doctrine_dbal.php",
    drizzle: "drizzle.js",
    hikari_cp: "HikariCP.java",
    knex: "knex_.js",
    kysely: "kysely_.js",
    laravel: "laravel.php",
    mikro_orm: "mikro_orm.js",
    mysql2_5000_prepared_texts: "mysql2_many.js",
    objection: "objection_.js",
    peewee: "peewee_.py",
    prisma_adapter: "prisma.js",
    sequel: "sequel_.rb",
    sequelize: "sequelize.js",
    sqlalchemy_inspector: "sqlalchemy_inspector.py",
    tortoise: "tortoise_.py",
    typeorm: "typeorm_.js",
}
