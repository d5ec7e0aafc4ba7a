const steps = require("../../drivers/steps.js");
const { Sequelize } = steps.load("sequelize");
const { host, port, user, password, database } = steps.options;

const connect = async (dialect) => {
  const sequelize = new Sequelize(database, user, password, { host, port, dialect, logging: false, pool: { max: 1 } });
  await sequelize.authenticate();
  steps.equal((await sequelize.getQueryInterface().showAllTables()).length, 0);
  steps.equal(await sequelize.getQueryInterface().tableExists("SequelizeMeta"), 0);
  await sequelize.transaction({ isolationLevel: "READ COMMITTED" }, (transaction) => sequelize.query("SELECT 1", { transaction, type: "SELECT" }));
  return async (sql, replacements) => (await sequelize.query(sql, { replacements, type: "SELECT" }))[0].x;
};

(async () => {
  const byMariadb = await connect("mariadb");
  steps.equal(await byMariadb("SELECT IS_FREE_LOCK(?) AS x", ["nightly"]), 1);
  await steps(await connect("mysql"));
})();
