// Package containertest is the conformance suite that every container back end passes: [Run] makes containers with it
// and looks at what they really do, measured against the Capabilities that the back end declares.
//
// A test package calls [Helper] first in its TestMain, as the suite starts the test binary inside containers to do what
// no shell can do portably: listen at a port, use up memory, leave its parents.
//
//	func TestMain(m *testing.M) {
//		containertest.Helper()
//		os.Exit(m.Run())
//	}
//
//	func TestConformance(t *testing.T) {
//		containertest.Run(t, containertest.Config{
//			StopGrace: 500 * time.Millisecond,
//			New: func(t *testing.T) container.Backend { ... },
//		})
//	}
//
// Where containers outlive the process that made them, the suite runs the test that called Run again in processes of
// their own, makes containers there by Config.Open, and kills these processes: in the middle of a Stop, and at any moment
// of a storm of calls. Then it looks at what a new back end makes of the rest.
//
// What a back end promises not to do is data in its Capabilities, and what one cannot do although the interface asks
// for it is data in [Tolerances]: in both cases the suite then checks what happens instead. It skips nothing
// but what Tolerances.Without names: there a back end whose containers are no real ones tells what it is not made for.
//
// Containers need sh, env, cat, chmod, find, head, ln, mkdir, mv, rm, sleep and wc. The suite is for tests on Linux; it depends on
// nothing but the standard library.
package containertest
