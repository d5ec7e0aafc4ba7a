module getlock

go 1.19
