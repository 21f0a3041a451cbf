//! The routes of the Spot API and the query of a request.

/// A route: a method and a path with placeholders, which is also the key of its rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    ListAccounts,
    CreateAccount,
    GetAccount,
    RenameAccount,
    DeleteAccount,
    CreateExternalId,
    GetExternalId,
    GetCredentials,
    SetCredentials,
    ListCostIntelligence,
    SetUpCostIntelligence,
    ValidateCostIntelligence,
    ListBilling,
    SetUpBilling,
    ValidateBilling,
    ListElastigroups,
    ListOceanClusters,
    ListEcsClusters,
    ListAccessPolicies,
    ListUserGroups,
    CreateUserGroup,
    GetUserGroup,
    MapUserGroupPolicies,
}

const ROUTES: &[(Route, &str, &str)] = &[
    (Route::ListAccounts, "GET", "/setup/account"),
    (Route::CreateAccount, "POST", "/setup/account"),
    (Route::GetAccount, "GET", "/setup/account/{accountId}"),
    (Route::RenameAccount, "PUT", "/setup/account/{accountId}"),
    (Route::DeleteAccount, "DELETE", "/setup/account/{accountId}"),
    (
        Route::CreateExternalId,
        "POST",
        "/setup/credentials/aws/externalId",
    ),
    (
        Route::GetExternalId,
        "GET",
        "/setup/credentials/aws/externalId/{accountId}",
    ),
    (Route::GetCredentials, "GET", "/setup/credentials/aws"),
    (Route::SetCredentials, "POST", "/setup/credentials/aws"),
    (Route::ListCostIntelligence, "GET", "/cbi/v1/setup/account"),
    (
        Route::SetUpCostIntelligence,
        "POST",
        "/cbi/v1/setup/account",
    ),
    (
        Route::ValidateCostIntelligence,
        "POST",
        "/cbi/v1/setup/account/validation",
    ),
    (Route::ListBilling, "GET", "/cloudBilling/v1/setup/account"),
    (
        Route::SetUpBilling,
        "POST",
        "/cloudBilling/v1/setup/account",
    ),
    (
        Route::ValidateBilling,
        "POST",
        "/cloudBilling/v1/setup/account/validation",
    ),
    (Route::ListElastigroups, "GET", "/aws/ec2/group"),
    (Route::ListOceanClusters, "GET", "/ocean/aws/k8s/cluster"),
    (Route::ListEcsClusters, "GET", "/ocean/aws/ecs/cluster"),
    (
        Route::ListAccessPolicies,
        "GET",
        "/setup/organization/policy",
    ),
    (Route::ListUserGroups, "GET", "/setup/access/userGroup"),
    (Route::CreateUserGroup, "POST", "/setup/access/userGroup"),
    (
        Route::GetUserGroup,
        "GET",
        "/setup/access/userGroup/{userGroupId}",
    ),
    (
        Route::MapUserGroupPolicies,
        "PUT",
        "/setup/access/userGroup/{userGroupId}/policyMapping",
    ),
];

impl Route {
    /// Finds the route of a request, its name (`PUT /setup/account/{accountId}`) and the id in its path.
    pub(crate) fn find(method: &str, path: &str) -> Option<(Self, String, String)> {
        ROUTES.iter().find_map(|(route, of, pattern)| {
            if *of != method {
                return None;
            }
            let id = id_in(pattern, path)?;
            Some((*route, format!("{of} {pattern}"), id.to_owned()))
        })
    }

    /// Whether only an organization administrator's token may call it.
    pub(super) fn for_admins(self, query: &Query) -> bool {
        match self {
            Self::ListAccounts => query.get("cloudAccountId").is_none(),
            Self::CreateAccount
            | Self::RenameAccount
            | Self::DeleteAccount
            | Self::ListAccessPolicies
            | Self::ListUserGroups
            | Self::CreateUserGroup
            | Self::GetUserGroup
            | Self::MapUserGroupPolicies => true,
            _ => false,
        }
    }
}

/// The id that a path has where its pattern has a placeholder, empty without one; none when it is another path.
fn id_in<'a>(pattern: &str, path: &'a str) -> Option<&'a str> {
    let mut id = "";
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(id),
            (Some(placeholder), Some(value)) if placeholder.starts_with('{') => {
                id = (!value.is_empty()).then_some(value)?;
            }
            (Some(wanted), Some(given)) if wanted == given => {}
            _ => return None,
        }
    }
}

/// The query of a request.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the part behind `?`.
    pub(crate) fn parse(text: &str) -> Self {
        Self(
            url::form_urlencoded::parse(text.as_bytes())
                .into_owned()
                .collect(),
        )
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}
