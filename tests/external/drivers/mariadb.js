const steps = require("./steps.js");
const mariadb = steps.load("mariadb");

(async () => {
  const connection = await mariadb.createConnection(steps.options);
  await connection.ping();
  await steps(async (sql, args) => (await connection.execute(sql, args))[0].x);
})();
