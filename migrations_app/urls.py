from django.urls import path

from . import views

app_name = "migrations_app"
urlpatterns = [
    path("migrations/", views.migration_list, name="list"),
    path("migrations/new/", views.migration_new, name="new"),
    path("environments/<slug:slug>/damage/", views.environment_damage, name="damage"),
    path("migrations/<int:number>/", views.migration_detail, name="detail"),
    path("migrations/<int:number>/edit/", views.migration_edit, name="edit"),
    path("migrations/<int:number>/discard/", views.migration_discard, name="discard"),
    path("migrations/<int:number>/cancel/", views.migration_cancel, name="cancel"),
    path("migrations/<int:number>/select/", views.migration_select, name="select"),
    path("migrations/<int:number>/select/add/", views.migration_add, name="add"),
    path("migrations/<int:number>/map/", views.migration_map, name="map"),
    path("migrations/<int:number>/plan/", views.migration_plan, name="plan"),
    path("migrations/<int:number>/plan/progress/", views.plan_progress, name="plan_progress"),
    path("migrations/<int:number>/plan/answer/", views.migration_answer, name="answer"),
    path("migrations/<int:number>/plan/prune/", views.migration_prune, name="prune"),
    path("migrations/<int:number>/plan/override/", views.migration_override, name="override"),
    path("migrations/<int:number>/items/<str:uuid>/", views.migration_item, name="item"),
    path("migrations/<int:number>/promote/", views.migration_promote, name="promote"),
    path("migrations/<int:number>/apply/", views.migration_apply, name="apply"),
    path("migrations/<int:number>/verify/", views.migration_verify, name="verify"),
    path("migrations/<int:number>/verify/<int:run>/progress/", views.run_progress, name="run_progress"),
    path("migrations/<int:number>/verify/again/", views.migration_verify_again, name="verify_again"),
    path("migrations/<int:number>/retry-rest/", views.migration_retry_rest, name="retry_rest"),
    path("migrations/<int:number>/look-again/", views.migration_look_again, name="look_again"),
    path("migrations/<int:number>/accept/", views.migration_accept, name="accept"),
    path("migrations/<int:number>/rollback/", views.migration_rollback, name="rollback"),
]
