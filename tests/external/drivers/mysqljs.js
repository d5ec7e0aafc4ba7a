const steps = require("./steps.js");
const connection = steps.load("mysql").createConnection(steps.options);

connection.connect();
steps((sql, args) => new Promise((done, failed) => {
  connection.query(sql, args, (error, rows) => (error ? failed(error) : done(rows[0].x)));
}));
