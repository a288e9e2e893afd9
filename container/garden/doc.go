// Package garden is a container back end that drives a Garden server, such as Guardian (garden-runc), through its HTTP API.
//
// Containers belong to the server: they outlive the program that made them, and [Backend.Lookup] finds them again. What
// the API has no word for is kept in properties of the container that begin with [PropertyPrefix]. They also outlive the
// server where it is Guardian: while that is started anew, whoever waits for a process goes on waiting.
//
// # What the API cannot do
//
// It is JSON, so input, arguments, environment and properties must be UTF-8; what is not is container.ErrUnsupported, and
// of input that is found too late: Wait of the process then says so. Limits are those of Create: changing them is
// container.ErrUnsupported. SIGTERM and SIGKILL are the only signals. The server keeps a few megabytes of output for a
// reader that is slow, and drops what is beyond. When the connection to it is lost, so is the output until there is another,
// and the input of a process ends.
package garden
