// Package memory is a container back end for tests: containers without processes, whose programs are Go functions and
// whose files are a tree in memory. Code that takes a container.Backend is tested with it where a real one is too slow,
// too real, or does not fail when a test wants it to.
//
//   - A [Program] is what a ProcessSpec.Path stands for: it gets arguments, environment, streams and signals, and works on
//     the [Files] of its container. Options.Programs names them.
//   - [Backend.Next] puts a [Hook] before a call: [Fail] lets it fail, a [Gate] holds it until the test has seen what it
//     wants to see.
//   - [Process.SetLoad] says what a process uses: Usage tells it, and a container above its memory limit is ended as out of
//     memory. [Container.OutOfMemory] does the same at will.
//
// Nothing happens in real time: the package asks package time alone, so in a bubble of testing/synctest the grace time of
// Stop, processor time and whatever a program sleeps cost nothing and are exact. Goroutines are those of processes that run,
// and of the input that they were given.
//
// # What it is not
//
// There is no host: bind mounts are remembered and show nothing, Info.Path is empty, a port is a number. A program that
// listens at its port does so on the machine of the test, where another process may have it already. There are no child
// processes; users and resource limits are told to the program, and do nothing. A program is a goroutine, which nobody can
// end from outside: it has to return soon after its context ended. What the back end keeps of the contract of package
// container is tested with the suite of package containertest.
//
// To see what was asked for, ask [Backend.Container] for the [Container], which tells its Spec, Egress, Files and Processes.
package memory
