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
    printf 'entryUUID: %s\ngivenName: %s\nsn: %s\ncn: %s %s\n' "$2" "$3" "$4" "$3" "$4"
    printf 'mail: %s@%s\nuserPassword: %s\n\n' "$1" "$DOMAIN" "$5"
}

{
    printf 'dn: dc=site\nobjectClass: dcObject\nobjectClass: organization\no: site\ndc: site\n\n'
    printf 'dn: ou=people,dc=site\nobjectClass: organizationalUnit\nou: people\n\n'
    printf 'dn: cn=reader,dc=site\nobjectClass: organizationalRole\n'
    printf 'objectClass: simpleSecurityObject\ncn: reader\nuserPassword: %s\n\n' \
        "$(hashed /secrets/reader)"
    while IFS='	' read -r name uuid given family; do
        person "$name" "$uuid" "$given" "$family" "$(hashed "/secrets/people/$name")"
    done < /configuration/people
    if [ "$COUNT" -gt 0 ]; then
        numbered=$(hashed /secrets/numbered)
        number=1
        while [ "$number" -le "$COUNT" ]; do
            name=$(printf 'user%04d' "$number")
            uuid=$(printf '00000000-0000-4000-8000-%012d' "$number")
            person "$name" "$uuid" User "$name" "$numbered"
            number=$((number + 1))
        done
    fi
} > /database/people.ldif
slapadd -q -f /configuration/slapd.conf -l /database/people.ldif
rm /database/people.ldif
