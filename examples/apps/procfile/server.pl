#!/usr/bin/perl
# A web server of one page, with nothing but perl-base: it shows that a Procfile can start any program.
use strict;
use warnings;
use Errno;
use IO::Socket::INET;

my $host = $ENV{VCAP_APP_HOST} || '0.0.0.0';
my $port = $ENV{PORT} || 8080;
$| = 1;

my $listener = IO::Socket::INET->new(LocalAddr => $host, LocalPort => $port, Listen => 64, ReuseAddr => 1)
    or die "cannot listen on $host:$port: $!\n";
my $ending = 0;
$SIG{TERM} = $SIG{INT} = sub { $ending = 1; close $listener };
$SIG{PIPE} = 'IGNORE';
print "listening on $host:$port\n";

# One request at a time: a signal ends the waiting for the next one, never an answer that is under way.
until ($ending) {
    my $client = $listener->accept or next;
    answer($client);
    close $client;
}
print "ended\n";

sub answer {
    my ($client) = @_;
    my $seconds = pack 'l!l!', 5, 0;
    setsockopt $client, SOL_SOCKET, SO_RCVTIMEO, $seconds;
    my $head = '';
    while (length $head < 16384 && $head !~ /\r?\n\r?\n/) {
        my $count = sysread $client, $head, 4096, length $head;
        next if !defined $count && $!{EINTR};
        return unless $count;
    }
    my ($method, $path) = $head =~ m{^([A-Z]+) ([^ ?]+)} or return;
    my %pages = (
        '/'       => 'Hello from a Procfile' . "\ninstance index: " . ($ENV{CF_INSTANCE_INDEX} // 'unknown') . "\n",
        '/health' => "ok\n",
    );
    my $status = exists $pages{$path} ? '200 OK' : '404 Not Found';
    my $body = $pages{$path} // "not found\n";
    print $client "HTTP/1.1 $status\r\nContent-Type: text/plain\r\nContent-Length: ", length $body,
        "\r\nConnection: close\r\n\r\n", $method eq 'HEAD' ? '' : $body;
    $path =~ s/[^!-~]/?/g;
    print "$method $path $status\n";
}
