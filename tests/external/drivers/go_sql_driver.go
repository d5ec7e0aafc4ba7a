package main

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"os"

	_ "github.com/go-sql-driver/mysql"
)

func main() {
	db, err := sql.Open("mysql", "root:"+os.Getenv("PASSWORD")+"@tcp(127.0.0.1:"+os.Args[1]+")/test?charset=utf8mb4")
	check(err)
	connection, err := db.Conn(context.Background())
	check(err)
	check(connection.PingContext(context.Background()))
	input := bufio.NewReader(os.Stdin)
	say := func(word string) {
		fmt.Println(word)
		input.ReadString('\n')
	}
	ask := func(wanted int, query string, args ...interface{}) {
		var got int
		check(connection.QueryRowContext(context.Background(), query, args...).Scan(&got))
		if got != wanted {
			panic(fmt.Sprint(got, " is not ", wanted))
		}
	}
	ask(1, "SELECT GET_LOCK('nightly', 10)")
	say("held")
	ask(1, "SELECT RELEASE_LOCK('nightly')")
	say("released")
	ask(0, "SELECT GET_LOCK(?, ?)", "nightly", 0)
	say("refused")
	ask(1, "SELECT GET_LOCK(?, ?)", "nightly", 10.5)
	ask(1, "SELECT IS_USED_LOCK(?) = CONNECTION_ID()", "nightly")
	say("again")
	os.Exit(0)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
