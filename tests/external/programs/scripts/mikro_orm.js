const steps = require("../../drivers/steps.js");
const { MikroORM, EntitySchema } = steps.load("@mikro-orm/mysql");
const { database: dbName, ...rest } = steps.options;

(async () => {
  const job = new EntitySchema({ name: "Job", properties: { id: { type: "number", primary: true } } });
  const orm = await MikroORM.init({ ...rest, dbName, entities: [job], pool: { min: 1, max: 1 } });
  steps.equal(await orm.isConnected(), 1);
  await orm.em.transactional((inside) => inside.execute("SELECT 1"));
  await steps(async (sql, args) => (await orm.em.getConnection().execute(sql, args))[0].x);
})();
