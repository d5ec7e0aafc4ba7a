package main

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"os"

	_ "github.com/go-sql-driver/mysql"
)

// What every script of a pool does: see borrow.py.
func main() {
	db, err := sql.Open("mysql", "root@tcp(127.0.0.1:"+os.Args[1]+")/"+os.Args[2])
	check(err)
	db.SetMaxOpenConns(1)
	if os.Args[3] == "advised" {
		db.SetMaxIdleConns(-1)
	}
	input := bufio.NewReader(os.Stdin)
	say := func(word interface{}) {
		fmt.Println(word)
		input.ReadString('\n')
	}
	take := func(connection *sql.Conn) (granted int) {
		check(connection.QueryRowContext(context.Background(), "SELECT GET_LOCK('nightly', 0)").Scan(&granted))
		return
	}
	borrow := func() *sql.Conn {
		connection, err := db.Conn(context.Background())
		check(err)
		return connection
	}
	first := borrow()
	if take(first) != 1 {
		panic("the lock was not free")
	}
	check(first.Close())
	say("given back")
	second := borrow()
	say("lent again")
	say(take(second))
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
