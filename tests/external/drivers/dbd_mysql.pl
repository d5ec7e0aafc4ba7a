use strict;
exit 77 unless eval { require DBI; require DBD::mysql; 1 };
require "./steps.pl";
my $dbh = DBI->connect("DBI:mysql:host=127.0.0.1;port=$ARGV[0];database=test", "root", $ENV{PASSWORD}, { RaiseError => 1 });
die unless $dbh->ping;
steps(sub {
    my ($sql, @args) = @_;
    return ($dbh->selectrow_array($sql, undef, @args))[0];
});
