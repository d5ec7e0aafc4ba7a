use strict;
exit 77 unless eval { require DBI; require DBD::MariaDB; 1 };
require "../../drivers/steps.pl";
my $dbh = DBI->connect("DBI:MariaDB:host=127.0.0.1;port=$ARGV[0];database=test", "root", $ENV{PASSWORD},
    { RaiseError => 1, mariadb_server_prepare => 1 });
die unless $dbh->ping;
steps(sub {
    my ($sql, @args) = @_;
    return ($dbh->selectrow_array($sql, undef, @args))[0];
});
