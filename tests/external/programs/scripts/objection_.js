const steps = require("../../drivers/steps.js");
const { Model } = steps.load("objection");
Model.knex(steps.load("knex")({ client: "mysql2", connection: steps.options, pool: { min: 0, max: 1 } }));

(async () => {
  await Model.transaction((inside) => inside.raw("SELECT 1"));
  await steps(async (sql, args) => (await Model.knex().raw(sql, args))[0][0].x);
})();
