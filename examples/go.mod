module github.com/deakit/deakit/examples

go 1.26

require github.com/deakit/deakit v0.0.0

replace github.com/deakit/deakit => ../
