module github.com/deakit/deakit/examples

go 1.26.0

require (
	github.com/deakit/deakit v0.0.0
	github.com/stretchr/testify v1.12.1
	go.uber.org/goleak v1.3.0
	go.yaml.in/yaml/v3 v3.0.5
)

replace github.com/deakit/deakit => ../
