const steps = require("../../drivers/steps.js");
const { DataSource } = steps.load("typeorm");
const { user: username, ...rest } = steps.options;

(async () => {
  const source = new DataSource({ type: "mysql", username, ...rest });
  await source.initialize();
  await source.transaction("SERIALIZABLE", (manager) => manager.query("SELECT 1"));
  const runner = source.createQueryRunner();
  steps.equal(await runner.hasDatabase("test"), 1);
  steps.equal(await runner.hasTable("migrations"), 0);
  await steps(async (sql, args) => (await runner.query(sql, args))[0].x);
})();
