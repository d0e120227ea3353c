//! The roles that entries name: owners, grantees, grantors, roles of policies, of default privileges, of user
//! mappings.
//!
//! Taken from the parse trees. What this grammar cannot read names no role here; the server will complain then.

use std::collections::BTreeSet;

use serde_json::Value;

use super::ast;
use super::statements::{RestoreOptions, statements};
use crate::catalog::ddl::SchemaEntry;

/// `RoleSpecType::RolespecCstring`: a role by name, not `PUBLIC` or `CURRENT_USER`.
const BY_NAME: i64 = pg_query::protobuf::RoleSpecType::RolespecCstring as i64;

/// Every role that must exist for these entries to be restored with these options, sorted.
pub fn roles<'a>(
    entries: impl IntoIterator<Item = &'a SchemaEntry>,
    options: &RestoreOptions,
) -> BTreeSet<String> {
    let mut roles = BTreeSet::new();
    for entry in entries {
        for statement in statements(entry, options).statements {
            // Only these kinds of statement name roles; parsing every function would be a waste.
            let can_name = entry.kind != "COMMENT" || statement.sql.starts_with("SET LOCAL ROLE");
            if let (true, Some(tree)) = (can_name, ast::trees(&statement.sql)) {
                collect(&tree, &mut roles);
            }
        }
    }
    roles
}

fn collect(tree: &Value, roles: &mut BTreeSet<String>) {
    ast::walk(tree, &mut |kind, fields| {
        let role = match (fields.get("roletype").and_then(Value::as_i64), fields.get("rolename")) {
            (Some(BY_NAME), Some(Value::String(name))) => Some(name.as_str()),
            _ if kind == "VariableSetStmt" && fields.get("name").and_then(Value::as_str) == Some("role") => {
                fields
                    .get("args")
                    .and_then(|args| args.pointer("/0/node/AConst/val/Sval/sval"))
                    .and_then(Value::as_str)
            }
            _ => None,
        };
        roles.extend(role.map(str::to_owned));
    });
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{entry, nasty};
    use super::*;

    #[test]
    fn owners_grantees_policy_roles_and_defaults_are_all_found() {
        let dump = nasty();
        let all: Vec<String> = roles(&dump.entries, &RestoreOptions::default()).into_iter().collect();
        assert_eq!(all, ["Weird Role", "desk", "postgres", "reader"]);
    }

    #[test]
    fn without_owners_and_grants_only_policies_and_mappings_need_roles() {
        let options = RestoreOptions { owners: false, privileges: false, ..RestoreOptions::default() };
        let all: Vec<String> = roles(&nasty().entries, &options).into_iter().collect();
        assert_eq!(all, ["Weird Role", "desk", "reader"], "desk has a user mapping");
    }

    #[test]
    fn public_is_no_role_and_a_grantor_is_one() {
        let text = "SET SESSION AUTHORIZATION g;\nGRANT SELECT ON TABLE a.x TO PUBLIC;\nRESET SESSION AUTHORIZATION;\n";
        let all = roles([&entry("ACL", Some("a"), "TABLE x", text)], &RestoreOptions::default());
        assert_eq!(all.into_iter().collect::<Vec<_>>(), ["g"]);
    }
}
