package containertest

import (
	"bufio"
	"fmt"
	"net"
	"slices"
	"strconv"

	"github.com/deakit/deakit/container"
)

var netTests = []test{
	{"Ports", testPorts},
	{"GivenPorts", testGivenPorts},
	{"NotReusedAtOnce", testNotReusedAtOnce},
	{"StoppedContainer", testNetOfStopped},
	{"Reachable", testReachable},
	{"NetOut", testNetOut},
}

func (s *suite) netIn(c container.Container, hostPort, containerPort uint16) container.PortMapping {
	s.Helper()
	m, err := c.NetIn(s.ctx, hostPort, containerPort)
	s.must(err)
	return m
}

func testPorts(s *suite) {
	a, b := s.create(container.Spec{}), s.create(container.Spec{})
	drawn := map[uint16]bool{}
	for range 10 {
		for _, c := range []container.Container{a, b} {
			m := s.netIn(c, 0, 0)
			if m.HostPort == 0 || drawn[m.HostPort] {
				s.Errorf("port %d was drawn, having %v", m.HostPort, drawn)
			}
			drawn[m.HostPort] = true
			equal(s, "container port", m.ContainerPort, m.HostPort)
			if !slices.Contains(s.info(c).Ports, m) {
				s.Errorf("%v is missing in %v", m, s.info(c).Ports)
			}
		}
	}
	equal(s, "ports of one", len(s.info(a).Ports), 10)
}

func testGivenPorts(s *suite) {
	first := s.create(container.Spec{})
	m := s.netIn(first, 0, 0)
	second := s.create(container.Spec{})
	_, err := second.NetIn(s.ctx, m.HostPort, m.HostPort)
	s.is(err, container.ErrNoPort)
	s.must(first.Destroy(s.ctx))
	equal(s, "mapping", s.netIn(second, m.HostPort, 0), m)

	third := s.create(container.Spec{})
	other := s.netIn(third, 0, 0).HostPort
	s.must(third.Destroy(s.ctx))
	got, err := second.NetIn(s.ctx, other, 8080)
	if !s.caps.PortMapping {
		s.is(err, container.ErrUnsupported)
		equal(s, "mapping", s.netIn(second, 0, other), container.PortMapping{HostPort: other, ContainerPort: other})
		return
	}
	s.must(err)
	equal(s, "mapping", got, container.PortMapping{HostPort: other, ContainerPort: 8080})
	drawn := s.netIn(second, 0, 9090)
	equal(s, "container port", drawn.ContainerPort, 9090)
}

func testNotReusedAtOnce(s *suite) {
	used := map[uint16]bool{}
	for range 5 {
		c := s.create(container.Spec{})
		port := s.netIn(c, 0, 0).HostPort
		if used[port] {
			s.Errorf("port %d came back at once", port)
		}
		used[port] = true
		s.must(c.Destroy(s.ctx))
	}
}

func testNetOfStopped(s *suite) {
	c := s.create(container.Spec{})
	s.must(c.Stop(s.ctx, true))
	_, err := c.NetIn(s.ctx, 0, 0)
	s.is(err, container.ErrStopped)
	s.is(c.NetOut(s.ctx, container.EgressRule{Protocol: container.TCP, Network: "192.0.2.0/24"}), container.ErrStopped)
}

func testReachable(s *suite) {
	c := s.create(container.Spec{})
	m := s.netIn(c, 0, 0)
	var out safeBuffer
	_, err := c.Run(s.ctx, s.helper(c, fmt.Sprintf("listen %d", m.ContainerPort)), container.IO{Stdout: &out, Stderr: &out})
	s.must(err)
	s.eventually("listening (does TestMain call containertest.Helper?): "+out.String(), func() bool { return out.String() == "listening\n" })

	info := s.info(c)
	address := net.JoinHostPort(info.HostIP, strconv.Itoa(int(m.HostPort)))
	conn, err := (&net.Dialer{}).DialContext(s.ctx, "tcp", address)
	s.must(err)
	defer conn.Close()
	greeting, err := bufio.NewReader(conn).ReadString('\n')
	s.must(err)
	equal(s, "greeting", greeting, "hello\n")
	if info.ContainerIP == "" {
		s.Error("the container has no address")
	}
	if !s.caps.Network {
		equal(s, "container address", info.ContainerIP, info.HostIP)
	}
	s.must(c.Destroy(s.ctx))
	if conn, err := (&net.Dialer{}).DialContext(s.ctx, "tcp", address); err == nil {
		conn.Close()
		s.Error("the port still answers after Destroy")
	}
}

func testNetOut(s *suite) {
	c := s.create(container.Spec{})
	any := -1
	for _, rule := range []container.EgressRule{
		{Protocol: container.TCP, Network: "192.0.2.1", Ports: "80"},
		{Protocol: container.TCP, Network: "192.0.2.0/24", Ports: "8000:8010", Log: true},
		{Protocol: container.UDP, Network: "192.0.2.7-192.0.2.9", Ports: "53"},
		{Protocol: container.ICMP, Network: "192.0.2.0/24", ICMPType: &any, ICMPCode: &any},
		{Protocol: container.AllProtocols, Network: "198.51.100.0/24"},
	} {
		if err := c.NetOut(s.ctx, rule); err != nil {
			s.Errorf("%+v: %v", rule, err)
		}
	}
	for _, protocol := range []container.Protocol{"", "TCP", "sctp"} {
		s.is(c.NetOut(s.ctx, container.EgressRule{Protocol: protocol, Network: "192.0.2.1"}), container.ErrInvalid)
	}
	if !s.caps.EgressRules {
		return
	}
	for _, rule := range []container.EgressRule{
		{Protocol: container.TCP, Network: "somewhere"},
		{Protocol: container.TCP, Network: "192.0.2.1", Ports: "x"},
		{Protocol: container.TCP, Network: "192.0.2.1", Ports: "9:8"},
	} {
		s.is(c.NetOut(s.ctx, rule), container.ErrInvalid)
	}
}
