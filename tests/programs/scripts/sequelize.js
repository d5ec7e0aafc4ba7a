const steps = require("../../drivers/steps.js");
const { Sequelize } = steps.load("sequelize");
const { host, port, user, password, database } = steps.options;

(async () => {
  const sequelize = new Sequelize(database, user, password, { host, port, dialect: "mysql", logging: false, pool: { max: 1 } });
  await sequelize.authenticate();
  steps.equal((await sequelize.getQueryInterface().showAllTables()).length, 0);
  steps.equal(await sequelize.getQueryInterface().tableExists("SequelizeMeta"), 0);
  await sequelize.transaction({ isolationLevel: "READ COMMITTED" }, (transaction) => sequelize.query("SELECT 1", { transaction }));
  await steps(async (sql, replacements) => (await sequelize.query(sql, { replacements, type: "SELECT" }))[0].x);
})();
