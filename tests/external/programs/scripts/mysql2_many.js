// 5,000 different texts that are prepared on one connection, which keeps them all.
const steps = require("../../drivers/steps.js");
const mysql = steps.load("mysql2/promise");

(async () => {
  const connection = await mysql.createConnection(steps.options);
  for (let number = 0; number < 5000; number++) {
    const [rows] = await connection.execute(`SELECT IS_FREE_LOCK('job-${number}') + ${number} AS x`);
    steps.equal(rows[0].x, number + 1);
  }
  const [rows] = await connection.query("SHOW GLOBAL STATUS LIKE 'Prepared_stmt_count'");
  if (rows.length) steps.equal(rows[0].Value, 5000);
  await steps(async (sql, args) => (await connection.execute(sql, args))[0][0].x);
})();
