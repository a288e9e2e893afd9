module github.com/deakit/deakit

go 1.26
