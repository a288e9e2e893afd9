// Package config reads the YAML file of a DEA in the form that dea_ng has given it over the years, and says what is wrong
// with it: everything at once, each fault with its line, its key and the remedy.
//
// [Load] reads a file, [Parse] its content. A [Config] has a field for each key, already in the types of Go: what the file
// gives in seconds is a time.Duration. Methods turn it into what containers, ledgers and loggers take. The package starts
// nothing and knows no service.
//
// # What is accepted
//
// Files of early 2014 (stacks by name, no cc_url, no hm9000) and of the last dea_ng of January 2017. Keys of 9.1 that only
// some versions demanded may be absent; those given are checked. Defaults are merged deeply: a hash that gives some of
// its keys keeps the defaults of the others, where most dea_ng replaced the whole hash. Older names of keys are understood,
// keys that have lost their meaning are ignored, unknown keys are allowed; a [Warning] tells of each. A key without a value
// (null) counts as absent. When a key stands twice, the last one counts, with a warning.
//
// Types are as strict as in dea_ng: a number in quotes is no number, and 1.0 is no integer. One thing is more lenient: the
// ratio thresholds may be integers.
//
// The block "deakit" holds what dea_ng has no key for; so does ssl.ca_file. dea_ng ignores both, so that one file serves
// either program.
//
// # Secrets
//
// Errors and warnings never repeat values, with two exceptions: the names of certificate files that were not found, and
// names of keys. Passwords have the type [Secret], addresses that can hold one the type [URL]; both hide them however they are
// printed or logged, alone or as part of a Config.
package config
