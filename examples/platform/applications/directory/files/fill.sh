# Makes the database from the people of the values and their passwords. Nothing of it is kept: a new
# pod makes the same, with the same entryUUIDs, by which Keycloak knows people again.
set -eu
umask 077

hashed() {
    # Of a file without a newline at its end: slappasswd takes it as a part of the password.
    slappasswd -n -h '{SSHA}' -T "$1"
}

person() {
    printf 'dn: uid=%s,ou=people,dc=site\nobjectClass: inetOrgPerson\nuid: %s\n' "$1" "$1"
    printf 'entryUUID: %s\nsn: %s\ncn: %s\n' "$2" "$3" "${4:+$4 }$3"
    # An attribute may not be empty, and this one may be missing.
    [ -z "$4" ] || printf 'givenName: %s\n' "$4"
    printf 'mail: %s@%s\nuserPassword: %s\n\n' "$1" "$DOMAIN" "$5"
}

# Each password on a line of its own: as an argument of another command, one that cannot be read would
# be an empty one.
reader=$(hashed /secrets/reader)
{
    printf 'dn: dc=site\nobjectClass: dcObject\nobjectClass: organization\no: site\ndc: site\n\n'
    printf 'dn: ou=people,dc=site\nobjectClass: organizationalUnit\nou: people\n\n'
    printf 'dn: cn=reader,dc=site\nobjectClass: organizationalRole\n'
    printf 'objectClass: simpleSecurityObject\ncn: reader\nuserPassword: %s\n\n' \
        "$reader"
    # The given name is the last, since tabs in a row are taken for one.
    while IFS='	' read -r name uuid family given; do
        password=$(hashed "/secrets/people/$name")
        person "$name" "$uuid" "$family" "$given" "$password"
    done < /configuration/people
    if [ "$COUNT" -gt 0 ]; then
        numbered=$(hashed /secrets/numbered)
        number=1
        while [ "$number" -le "$COUNT" ]; do
            name=$(printf 'user%04d' "$number")
            uuid=$(printf '00000000-0000-4000-8000-%012d' "$number")
            person "$name" "$uuid" "$name" User "$numbered"
            number=$((number + 1))
        done
    fi
} > /database/people.ldif
slapadd -q -f /configuration/slapd.conf -l /database/people.ldif
rm /database/people.ldif
