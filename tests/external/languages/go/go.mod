module languages

go 1.19

require getlock v0.0.0

replace getlock => ../../../../clients/go
